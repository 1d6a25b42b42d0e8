import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ISettingRegistry } from '@jupyterlab/settingregistry';

/**
 * Use settings: first when JupyterLab has started, then after each change.
 *
 * Plugins share a schema where they can: JupyterLab compiles each one when it starts. Without a
 * registry, or if the settings cannot be loaded, the plugin keeps its defaults.
 */
export function followSettings(
  app: JupyterFrontEnd,
  registry: ISettingRegistry | null,
  id: string,
  use: (settings: ISettingRegistry.ISettings) => void
): void {
  void app.restored
    .then(() => registry?.load(id))
    .then(settings => {
      if (settings) {
        use(settings);
        settings.changed.connect(use);
      }
    })
    .catch(() => undefined);
}
