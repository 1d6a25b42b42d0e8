import type { Contents } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';

import { type IRead, readContents, readFiles } from './files';

/** The type of the paths that JupyterLab's file browser drags. */
const PATHS = 'application/x-jupyter-icontents';

export interface IDropOptions {
  contents: Contents.IManager;
  trans: TranslationBundle;
  /** Attach what was read. */
  onRead: (read: IRead) => void;
}

/** A drag within JupyterLab. */
interface ILuminoDrag extends Event {
  readonly mimeData: { hasData(type: string): boolean; getData(type: string): unknown };
  readonly proposedAction: string;
  dropAction: string;
}

/** Attach files that are dropped or pasted onto an element, from the computer or from JupyterLab. */
export function acceptFiles(node: HTMLElement, options: IDropOptions): IDisposable {
  const { contents, trans, onRead } = options;
  const listening = new AbortController();
  const mark = (isOver: boolean) => {
    if (isOver) {
      node.dataset.drop = trans.__('Drop to attach');
    } else {
      delete node.dataset.drop;
    }
  };
  const take = (event: Event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  const on = <T extends Event>(type: string, listener: (event: T) => void) =>
    node.addEventListener(type, listener as (event: Event) => void, { signal: listening.signal });

  for (const type of ['dragenter', 'dragover']) {
    on<DragEvent>(type, event => {
      if (event.dataTransfer?.types.includes('Files')) {
        take(event);
        event.dataTransfer.dropEffect = 'copy';
        mark(true);
      }
    });
  }
  on<DragEvent>('dragleave', event => mark(isInside(node, event) && !!node.dataset.drop));
  on<DragEvent>('drop', event => {
    mark(false);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) {
      take(event);
      void readFiles(files, trans).then(onRead);
    }
  });
  on<ClipboardEvent>('paste', event => {
    const { files, types } = event.clipboardData ?? {};
    // Spreadsheets put a picture of their cells beside the text.
    if (files?.length && !types?.includes('text/plain')) {
      take(event);
      void readFiles([...files], trans).then(onRead);
    }
  });
  for (const type of ['lm-dragenter', 'lm-dragover']) {
    on<ILuminoDrag>(type, event => {
      if (event.mimeData.hasData(PATHS)) {
        take(event);
        event.dropAction = event.proposedAction;
        mark(true);
      }
    });
  }
  on<MouseEvent>('lm-dragleave', event => mark(isInside(node, event) && !!node.dataset.drop));
  on<ILuminoDrag>('lm-drop', event => {
    mark(false);
    if (event.mimeData.hasData(PATHS)) {
      take(event);
      event.dropAction = event.proposedAction;
      const paths = event.mimeData.getData(PATHS) as string[];
      void readContents(paths, contents, trans).then(onRead);
    }
  });
  return new DisposableDelegate(() => {
    listening.abort();
    mark(false);
  });
}

/** Return whether the pointer has only left one part of an element for another. */
function isInside(node: HTMLElement, { relatedTarget }: MouseEvent): boolean {
  return relatedTarget instanceof Node && node.contains(relatedTarget);
}
