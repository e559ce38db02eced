import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { RUN_MIME } from '../core/wire';
import { RunRenderer } from './renderer';
import { Settings } from './settings';

const PLUGIN = 'wattle-jupyter:plugin';
const RANK = -20; // before the widget of the same output: this one needs no kernel

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: 'Shows runs of Wattle workflows live in their cells.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ISettingRegistry],
  activate: (_app: JupyterFrontEnd, rendermime: IRenderMimeRegistry, registry: ISettingRegistry | null) => {
    const settings = new Settings();
    rendermime.addFactory(
      { safe: true, mimeTypes: [RUN_MIME], defaultRank: RANK, createRenderer: () => new RunRenderer(settings) },
      RANK
    );
    registry
      ?.load(PLUGIN)
      .then(loaded => settings.follow(loaded))
      .catch((error: unknown) => console.warn('wattle-jupyter: settings could not be read, defaults hold.', error));
  }
};

export default plugin;
