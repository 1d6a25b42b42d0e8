import type { IParameters, Arguments } from '../arguments';
import type { IDesk } from '../desk';
import type { Journal } from '../journal';
import type { Approval, IQuestion, IStep } from '../work';

/** What a tool returns. */
export interface IResult {
  /** The text that the model reads. */
  readonly text: string;
  readonly images?: readonly string[];
  readonly state?: 'done' | 'refused' | 'failed';
}

/** The surroundings of a call. */
export interface ICall {
  readonly desk: IDesk;
  readonly journal: Journal;
  /** The model. */
  readonly author: string;
  /** Aborted when the work ends. */
  readonly signal: AbortSignal;
  /** Whether the model reads pictures. */
  readonly seesImages: boolean;
  /** Show a change of the step. */
  show(change: Partial<IStep>): void;
  /** Wait for a decision of the user in the notebook. */
  decided<T>(decision: Promise<T>): Promise<T>;
  /** Ask the user in the panel. */
  ask(question: IQuestion): Promise<Approval>;
}

/** A tool of a model. */
export interface ITool {
  readonly name: string;
  readonly description: string;
  readonly parameters: IParameters;
  /** Call it with arguments that fit the parameters. An error is a result that the model reads. */
  call(args: Arguments, call: ICall): Promise<IResult>;
}

/** A tool of another program, which checks the arguments itself. */
export interface IForeignTool {
  readonly name: string;
  readonly description: string;
  readonly parameters: object;
  call(args: Record<string, unknown>, call: ICall): Promise<IResult>;
}

/** An error whose message the model reads. */
export class ToolError extends Error {}
