import type { IRenderMime } from '@jupyterlab/rendermime';

/** A typesetter that says when the formulas of an element are drawn. */
export class AwaitedTypesetter implements IRenderMime.ILatexTypesetter {
  constructor(private readonly _typesetter: IRenderMime.ILatexTypesetter) {}

  /** Draw the formulas of an element. */
  typeset(element: HTMLElement): Promise<void> {
    const drawn = Promise.resolve(this._typesetter.typeset(element));
    this._drawn.set(
      element,
      drawn.catch(() => undefined)
    );
    return drawn;
  }

  /** Wait until the formulas of an element are drawn, or cannot be. */
  async drawn(element: HTMLElement): Promise<void> {
    await this._drawn.get(element);
  }

  private readonly _drawn = new WeakMap<HTMLElement, Promise<void>>();
}
