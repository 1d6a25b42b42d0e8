import type { LabIcon } from '@jupyterlab/ui-components';

interface IActionProps {
  icon: LabIcon;
  label: string;
  onClick: () => unknown;
  pressed?: boolean;
}

/** A button that is only an icon; its name is what a screen reader says. */
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
