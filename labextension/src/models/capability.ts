import type { ModelSummary } from '../api';

/** Return the installed models with a capability; a server that reports none keeps them all. */
export function withCapability(
  models: readonly ModelSummary[],
  capability: string
): readonly ModelSummary[] {
  return models.filter(one => !one.capabilities || one.capabilities.includes(capability));
}
