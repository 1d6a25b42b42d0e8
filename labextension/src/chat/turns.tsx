import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import { useLayoutEffect, useRef } from 'react';

import type { Conversation } from './conversation';
import type { ICodeAction } from './markdown';
import { saidOf } from './progress';
import { Turn } from './turn';

export interface ITurnsProps {
  conversation: Conversation;
  rendermime: IRenderMimeRegistry;
  trans: TranslationBundle;
  codeActions: readonly ICodeAction[];
  /** The model that answers from now on. */
  model: () => string;
}

/** The questions and answers, scrolled to the end unless the user reads further up. */
export function Turns(props: ITurnsProps): React.ReactElement {
  const { conversation, trans, rendermime, model } = props;
  const list = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const { turns, progress, isRunning } = conversation;
  const last = turns[turns.length - 1];
  useLayoutEffect(() => {
    // Markdown is drawn later than the rest, so that only the browser knows when there is more.
    const observer = new ResizeObserver(() => {
      if (list.current && follows.current) {
        list.current.scrollTop = list.current.scrollHeight;
      }
    });
    observer.observe(content.current as HTMLElement);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    follows.current = true;
  }, [turns.length]);
  return (
    <div
      className="jpo-list"
      role="log"
      tabIndex={0}
      aria-label={trans.__('Conversation')}
      aria-busy={isRunning}
      ref={list}
      onScroll={({ currentTarget: node }) => {
        follows.current = node.scrollHeight - node.scrollTop - node.clientHeight < 40;
      }}
    >
      <div ref={content}>
        {turns.map((turn, index) => (
          <Turn
            key={index}
            {...{ turn, rendermime, trans }}
            actions={props.codeActions}
            onEdit={text => void conversation.edit(model(), index, text)}
            onRegenerate={
              turn === last && turn.role === 'assistant' && !isRunning
                ? () => void conversation.regenerate(model())
                : undefined
            }
          />
        ))}
        {isRunning && !last?.content && (
          <p className="jpo-detail" role="status">
            {last?.thinking ? trans.__('Thinking…') : saidOf(progress, trans)}
          </p>
        )}
      </div>
    </div>
  );
}
