import type { IStateDB } from '@jupyterlab/statedb';

const KEY = 'jupyter-ollama:inline-history';
const LONGEST = 50;

/** The instructions of inline prompts, which survive a reload of the page. */
export class InstructionHistory {
  constructor(private readonly _state: IStateDB | null) {
    this._loaded = this.load();
  }

  /** Resolves when earlier instructions are known. */
  get loaded(): Promise<void> {
    return this._loaded;
  }

  /** The instructions, oldest first. */
  get all(): readonly string[] {
    return this._all;
  }

  /** Add an instruction as the newest one. */
  add(instruction: string): void {
    this._all = [...this._all.filter(one => one !== instruction), instruction].slice(-LONGEST);
    void this._state?.save(KEY, this._all);
  }

  private async load(): Promise<void> {
    const saved = await this._state?.fetch(KEY).catch(() => undefined);
    if (Array.isArray(saved)) {
      const texts = saved.filter(one => typeof one === 'string');
      this._all = [...texts, ...this._all].slice(-LONGEST);
    }
  }

  private readonly _loaded: Promise<void>;
  private _all: string[] = [];
}
