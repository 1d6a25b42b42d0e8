import type { LabIcon } from '@jupyterlab/ui-components';

interface IActionProps {
  icon: LabIcon;
  label: string;
  onClick: () => unknown;
  pressed?: boolean;
}

/** An icon button; its label is its accessible name. */
export function Action({ icon, label, onClick, pressed }: IActionProps): React.ReactElement {
  return (
    <button
      className="jpo-action"
      title={label}
      aria-label={label}
      aria-pressed={pressed}
      onClick={() => void onClick()}
    >
      <icon.react tag="span" height="14px" width="14px" />
    </button>
  );
}
