import { agent } from './agent/plugin';
import { chat } from './chat/plugin';
import { client } from './client';
import { commands } from './commands/plugin';
import { completer } from './completer/plugin';
import { models } from './models/plugin';
import { prompts } from './prompts/plugin';
import { quickstart } from './quickstart/plugin';
import { running } from './running';
import { status } from './status';

export { IOllamaClient } from './client';
export { proposeDeletion, proposeNewCell, proposeSource } from './diff';
export default [
  client,
  status,
  running,
  models,
  completer,
  agent,
  chat,
  commands,
  quickstart,
  prompts
];
