import type { ICell, INotebookContent } from '@jupyterlab/nbformat';
import type { Contents } from '@jupyterlab/services';

import { parameters } from '../arguments';
import { type ITool, ToolError } from './tool';

/** The maximum number of entries of a folder, and of characters of a file, in one result. */
const MOST_ENTRIES = 200;
const CHARACTERS = 8_000;
/** The largest file that is fetched, in bytes. */
const LARGEST = 4_000_000;

/** Return the tools that read files of the server by its contents API. */
export function fileTools(contents: Pick<Contents.IManager, 'get'>): ITool[] {
  return [
    {
      name: 'list_files',
      description: "List the files of a folder. Left out: the notebook's folder.",
      parameters: parameters({
        'folder?': { type: 'string', description: "A path from the notebook's folder." }
      }),
      call: async ({ folder = '' }, { desk }) => {
        const path = resolved(desk.path, String(folder));
        const model = await get(contents, path, { content: true });
        if (model.type !== 'directory') {
          throw new ToolError('It is no folder.');
        }
        return { text: listed(model) };
      }
    },
    {
      name: 'read_file',
      description: 'Read a text file or a notebook.',
      parameters: parameters({
        path: { type: 'string', description: "A path from the notebook's folder." },
        'line?': { type: 'integer', description: 'The first line to read, from 1.' }
      }),
      call: async ({ path: name, line = 1 }, { desk }) => {
        const path = resolved(desk.path, String(name));
        const { size, type } = await get(contents, path, { content: false });
        if (type === 'directory') {
          throw new ToolError('It is a folder: use list_files.');
        }
        if ((size ?? 0) > LARGEST) {
          throw new ToolError(`It has ${size} bytes, more than ${LARGEST}.`);
        }
        const model = await get(contents, path, { content: true });
        return { text: part(textOf(model), Math.max(1, Number(line))) };
      }
    }
  ];
}

/** Return a path of the server by a path from the folder of the notebook. */
export function resolved(notebook: string, path: string): string {
  const fromRoot = path.startsWith('/');
  const base = fromRoot ? [] : notebook.split('/').slice(0, -1);
  for (const name of path.split(/[/\\]/).filter(one => one && one !== '.')) {
    if (name === '..') {
      if (!base.length) {
        throw new ToolError('The path leaves the folder of the server.');
      }
      base.pop();
    } else if (name.startsWith('.')) {
      throw new ToolError('Hidden files are not read.');
    } else if (name.includes(':')) {
      // JupyterLab sends such a path to another drive.
      throw new ToolError('Only files of this server are read.');
    } else {
      base.push(name);
    }
  }
  return base.join('/');
}

async function get(
  contents: Pick<Contents.IManager, 'get'>,
  path: string,
  options: Contents.IFetchOptions
): Promise<Contents.IModel> {
  try {
    return await contents.get(path, options);
  } catch (error) {
    const { response } = error as { response?: Response };
    throw new ToolError(
      response?.status === 404 ? `There is no ${path || 'folder'}.` : (error as Error).message
    );
  }
}

function listed(folder: Contents.IModel): string {
  const entries = (folder.content as Contents.IModel[])
    .filter(one => !one.name.startsWith('.'))
    .sort((a, b) => a.name.localeCompare(b.name));
  const lines = entries
    .slice(0, MOST_ENTRIES)
    .map(one =>
      one.type === 'directory' ? `${one.name}/` : `${one.name} ${one.size ?? '?'} bytes`
    );
  const rest = entries.length - lines.length;
  return [...lines, ...(rest > 0 ? [`and ${rest} more`] : [])].join('\n') || 'The folder is empty.';
}

function textOf({ type, format, content }: Contents.IModel): string {
  if (type === 'notebook') {
    return (content as INotebookContent).cells.map(cellText).join('\n\n');
  }
  if (format !== 'text' || typeof content !== 'string') {
    throw new ToolError('It is no text file.');
  }
  return content;
}

function cellText({ cell_type: type, source }: ICell): string {
  return `# %% ${type}\n${Array.isArray(source) ? source.join('') : source}`;
}

/** Return lines from a line on, as many as fit, and say where the rest begins. */
function part(text: string, first: number): string {
  const lines = text.split('\n');
  if (first > lines.length) {
    throw new ToolError(`The file has ${lines.length} lines.`);
  }
  let end = first - 1;
  let length = 0;
  while (end < lines.length && length + lines[end].length < CHARACTERS) {
    length += lines[end++].length + 1;
  }
  if (end === first - 1) {
    return `${lines[end].slice(0, CHARACTERS)}\n[line ${first} has ${lines[end].length} characters]`;
  }
  const shown = lines.slice(first - 1, end).join('\n');
  return end < lines.length
    ? `${shown}\n[lines ${first} to ${end} of ${lines.length}; "line" reads on]`
    : shown;
}
