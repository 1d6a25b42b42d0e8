/** The commands that one plugin defines and others execute. */
export const CommandIDs = {
  openModels: 'jupyter-ollama:open-models',
  openChat: 'jupyter-ollama:open-chat',
  askChat: 'jupyter-ollama:ask-chat',
  newQuickstart: 'jupyter-ollama:new-quickstart',

  explainError: 'jupyter-ollama:explain-error',
  fixCell: 'jupyter-ollama:fix-cell',
  explainSelection: 'jupyter-ollama:explain-selection',
  documentSelection: 'jupyter-ollama:document-selection',
  editCell: 'jupyter-ollama:edit-cell',
  acceptProposal: 'jupyter-ollama:accept-proposal',
  refuseProposal: 'jupyter-ollama:refuse-proposal',
  nextChange: 'jupyter-ollama:next-change'
} as const;
