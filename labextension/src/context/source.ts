import { type Cell, CodeCell } from '@jupyterlab/cells';
import type { FileBrowser } from '@jupyterlab/filebrowser';
import type { INotebookTracker, Notebook, NotebookPanel } from '@jupyterlab/notebook';
import type { Contents } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { type ISignal, Signal } from '@lumino/signaling';

import { cellError, cellFailure, cellOutputs } from '../chat/attachments';
import type { IAttachment } from '../chat/conversation';
import { cut, fileAttachment } from '../chat/files';
import { languageIn } from '../kernel';
import { selectionOf, wholeNotebook } from './notebook';
import { type KernelScope, type ScopeFailure, scopeOf } from './scope';
import { fileWord, type IMention, mentionOf } from './words';

/** The bytes of the largest file that is read. */
const LARGEST_FILE = 5_000_000;

/** What a mention finds: attachments, or the reason why there are none. */
export type Found = readonly IAttachment[] | string;

/** The things around the chat that a question can refer to by `@` words. */
export class MentionSource {
  constructor(
    private readonly _notebooks: INotebookTracker | null,
    private readonly _contents: Contents.IManager,
    private readonly _browser: FileBrowser | null,
    private readonly _trans: TranslationBundle
  ) {
    _notebooks?.currentChanged.connect(this._follow, this);
    this._follow();
  }

  /** Emitted when other things can be mentioned, or their content has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Why the variables of the kernel are not listed, "" if they are. */
  get notice(): string {
    const failure = this._scope?.failure;
    return failure ? this.explained(failure) : '';
  }

  /** Ask the kernel for its variables. */
  async refresh(): Promise<void> {
    await this._scope?.refresh();
  }

  /** Return what can be mentioned, as far as it is known now. */
  list(): IMention[] {
    const trans = this._trans;
    const variables = (this._scope?.variables ?? []).map(({ name, summary }): IMention => ({
      kind: 'variable',
      word: name,
      detail: summary
    }));
    const { _notebook: notebook } = this;
    const cells = (notebook?.widgets ?? []).flatMap((cell, at): IMention[] => {
      const [first = ''] = cell.model.sharedModel.getSource().trim().split('\n');
      return first ? [{ kind: 'cell', word: cellWord(cell, at), detail: first.slice(0, 80) }] : [];
    });
    const others: IMention[] = [];
    if (selectionOf(notebook?.activeCell)) {
      others.push({ kind: 'selection', word: 'selection', detail: trans.__('in the cell') });
    }
    const failed = this._failedCell();
    if (failed) {
      const [message = ''] = cellError(failed, '')?.content.split('\n') ?? [];
      others.push({ kind: 'error', word: 'error', detail: message.slice(0, 80) });
    }
    if (notebook) {
      others.push({ kind: 'notebook', word: 'notebook', detail: this._panel?.title.label ?? '' });
    }
    return [...variables, ...cells, ...this._files(), ...others];
  }

  /** Return the texts and images that a word names. */
  async find(word: string): Promise<Found> {
    const mention = mentionOf(word, this.list());
    const trans = this._trans;
    if (!mention) {
      return trans.__('There is no @%1.', word);
    }
    const found = await this._find(mention, word);
    return typeof found === 'string'
      ? found
      : found.map(one => ({ ...one, mention: mention.word }));
  }

  /** Return a sentence about a failure. */
  explained(failure: ScopeFailure): string {
    const trans = this._trans;
    switch (failure) {
      case 'busy':
        return trans.__('The kernel is busy: its variables are not known now.');
      case 'missing':
        return trans.__(
          'Variables need jupyter-ollama-magics in the environment of the kernel: %1',
          '%pip install jupyter-ollama-magics'
        );
      case 'language':
        return trans.__('Variables can be mentioned where the kernel runs Python.');
      case 'none':
        return trans.__('The notebook has no kernel.');
      default:
        return trans.__('The kernel did not describe its variables.');
    }
  }

  private async _find(mention: IMention, word: string): Promise<Found> {
    const trans = this._trans;
    const name = `@${mention.word}`;
    const { _notebook: notebook } = this;
    switch (mention.kind) {
      case 'variable':
        return this._variable(mention.word, word);
      case 'file':
        return this._file(name, mention);
      case 'selection': {
        const content = selectionOf(notebook?.activeCell);
        return content
          ? [{ kind: 'text', name, content, language: languageIn(this._notebooks) }]
          : trans.__('Nothing is selected.');
      }
      case 'error': {
        const found = cellFailure(this._failedCell(), '', name, languageIn(this._notebooks));
        const content = found.map(one => one.content).join('\n\n');
        return content ? [{ kind: 'text', name, content }] : trans.__('No cell has an error.');
      }
      case 'notebook':
        return notebook
          ? [{ kind: 'text', name, content: wholeNotebook(notebook) }]
          : trans.__('No notebook is open.');
      case 'cell': {
        const cell = notebook?.widgets.find((one, at) => cellWord(one, at) === mention.word);
        return cell ? withOutput(cell, name) : trans.__('There is no such cell any more.');
      }
    }
  }

  private async _variable(variable: string, word: string): Promise<Found> {
    const scope = this._scope;
    if (!scope) {
      return this._trans.__('No notebook is open.');
    }
    const column = /^([^.]+\.[^\W\d]\w*)/.exec(word)?.[1];
    for (const name of [...(column ? [column] : []), variable]) {
      const found = await scope.describe(name);
      if (typeof found === 'string') {
        return this.explained(found);
      }
      if (found.text !== undefined) {
        return [{ kind: 'text', name: `@${name}`, content: found.text }];
      }
    }
    return this._trans.__('The kernel has no variable %1 any more.', variable);
  }

  private async _file(name: string, { detail, word }: IMention): Promise<Found> {
    const path = word.slice('file:'.length).replace(/"/g, '');
    try {
      const { size } = await this._contents.get(path, { content: false });
      if ((size ?? 0) > LARGEST_FILE) {
        return this._trans.__('%1 is larger than 5 MB.', path);
      }
      const found = fileAttachment(await this._contents.get(path));
      return found
        ? [{ ...found, ...cut(name, found.content, this._trans, found.kind) }]
        : this._trans.__('%1 is neither text nor an image.', path);
    } catch (error) {
      return `${detail || path}: ${(error as Error).message}`;
    }
  }

  private _files(): IMention[] {
    const items = this._browser ? [...this._browser.model.items()] : [];
    return items
      .filter(({ type }) => type !== 'directory')
      .map(({ path, name }) => {
        const local = this._contents.localPath(path);
        return { kind: 'file', word: fileWord(local), detail: local === name ? '' : name };
      });
  }

  /** Return the active cell if it has an error, else the last cell that has one. */
  private _failedCell(): Cell | undefined {
    const { activeCell, widgets = [] } = this._notebook ?? {};
    const cells = [...widgets, ...(activeCell ? [activeCell] : [])];
    return cells.reverse().find(cell => cellError(cell, ''));
  }

  private get _panel(): NotebookPanel | null {
    return this._notebooks?.currentWidget ?? null;
  }

  private get _notebook(): Notebook | undefined {
    return this._panel?.content;
  }

  private _follow(): void {
    this._scope?.changed.disconnect(this._onScope, this);
    this._scope = this._panel ? scopeOf(this._panel.sessionContext) : null;
    this._scope?.changed.connect(this._onScope, this);
    this._changed.emit();
  }

  private _onScope(): void {
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _scope: KernelScope | null = null;
}

/** Return the word of a cell: the number of its last execution, else its place. */
function cellWord(cell: Cell, at: number): string {
  const count = cell instanceof CodeCell ? cell.model.executionCount : null;
  return count ? `cell:${count}` : `cell:#${at + 1}`;
}

/** Return the source of a cell with the text of its output, and its images. */
function withOutput(cell: Cell, name: string): IAttachment[] {
  const outputs = cellOutputs(cell, name);
  const error = cellError(cell, name);
  const texts = [...outputs.filter(one => one.kind === 'text'), ...(error ? [error] : [])];
  const source = cell.model.sharedModel.getSource();
  const content = [source, ...texts.map(one => `Output:\n${one.content}`)].join('\n\n');
  return [{ kind: 'text', name, content }, ...outputs.filter(one => one.kind === 'image')];
}
