import { errorOf, OllamaError, readLines } from './ndjson';
import type { components } from './specification';

type Schemas = components['schemas'];

export type ChatMessage = Schemas['ChatMessage'];
export type ChatRequest = Schemas['ChatRequest'];
export type CreateRequest = Schemas['CreateRequest'];
export type Device = Schemas['Device'];
export type GenerateRequest = Schemas['GenerateRequest'];
export type LoadedModel = Schemas['Ps'];
export type McpCallRequest = Schemas['McpCallRequest'];
export type McpCallResult = Schemas['McpCallResponse'];
export type McpServer = Schemas['McpServer'];
export type McpTool = Schemas['McpTool'];
export type ModelDetails = Schemas['ShowResponse'];
export type ModelSummary = Schemas['ModelSummary'];
export type RequestUnderWay = Schemas['RequestUnderWay'];
export type Rights = Schemas['Rights'];
export type StatusEvent = Schemas['StatusEvent'];
export type ToolCall = Schemas['ToolCall'];

/** A part of an answer, or a progress event before its first text. */
export type ChatEvent = Partial<Schemas['ChatStreamEvent']> & Partial<Schemas['ProgressEvent']>;
export type GenerateEvent = Partial<Schemas['GenerateStreamEvent']>;

/** Send a request to a path below the server's base URL. */
export type Send = (path: string, init: RequestInit) => Promise<Response>;

/** Send a file to a path below the server's base URL, and report the bytes sent. */
export type SendFile = (
  path: string,
  file: Blob,
  signal: AbortSignal,
  onSent: (bytes: number) => void
) => Promise<Response>;

/** The Ollama API of this page's server, below the path `prefix`. */
export class OllamaApi {
  private _usage: Promise<{ rights?: Rights }> | undefined;

  constructor(
    private readonly send: Send,
    private readonly sendFile: SendFile,
    private readonly prefix = 'ollama'
  ) {}

  /** List the models of the store, newest first. */
  async tags(): Promise<ModelSummary[]> {
    return (await this.get<{ models: ModelSummary[] }>('api/tags')).models;
  }

  /** List the loaded models. */
  async loaded(): Promise<LoadedModel[]> {
    return (await this.get<{ models: LoadedModel[] }>('api/ps')).models;
  }

  /** List the user's requests that are queued or running. */
  async requests(): Promise<RequestUnderWay[]> {
    return (await this.get<{ requests: RequestUnderWay[] }>('api/requests')).requests;
  }

  /** List the devices of the server with their memory. */
  async devices(): Promise<Device[]> {
    return (await this.get<{ devices: Device[] }>('api/devices')).devices;
  }

  /**
   * List the MCP servers of the settings with the tools that may be called; empty without any.
   *
   * Servers that do not run yet start for it, so ask when the tools are needed, not regularly.
   */
  async mcpTools(signal?: AbortSignal): Promise<McpServer[]> {
    return (await this.get<{ servers: McpServer[] }>('api/mcp', signal)).servers;
  }

  /**
   * Call a tool of an MCP server. The server does not ask the user: the caller must have.
   *
   * A result with `is_error` is the tool's own error, for the model. An `OllamaError` is a fault of
   * the MCP server (502, 504) or of the request (403: the tool is not allowed).
   */
  async callMcpTool(
    server: string,
    tool: string,
    args: Record<string, unknown>,
    signal?: AbortSignal
  ): Promise<McpCallResult> {
    const request: McpCallRequest = { server, tool, arguments: args };
    return (await this.call('POST', 'api/mcp/call', request, signal)).json();
  }

  /** Return the details of a model. */
  async show(model: string): Promise<ModelDetails> {
    return (await this.call('POST', 'api/show', { model })).json();
  }

  /** Load a model and keep it for a time such as "5m", or -1 for no limit. */
  async load(model: string, keepAlive?: string | number): Promise<void> {
    const request = { model, keep_alive: keepAlive };
    try {
      await this.call('POST', 'api/generate', { ...request, stream: false });
    } catch (error) {
      // An embedding model is loaded by a request without texts.
      if (!(error instanceof OllamaError && /does not support generate/.test(error.message))) {
        throw error;
      }
      await this.call('POST', 'api/embed', { ...request, input: [] });
    }
  }

  /** Unload a model. */
  async unload(model: string): Promise<void> {
    await this.load(model, 0);
  }

  /** Copy a model to another name. */
  async copy(source: string, destination: string): Promise<void> {
    await this.call('POST', 'api/copy', { source, destination });
  }

  /** Delete a model from the store. */
  async delete(model: string): Promise<void> {
    await this.call('DELETE', 'api/delete', { model });
  }

  /** Yield the steps of a pull. */
  pull(model: string, signal: AbortSignal): AsyncGenerator<StatusEvent> {
    // The prefix http:// asks for an unencrypted connection.
    const insecure = /^http:/i.test(model);
    return this.stream('api/pull', insecure ? { model, insecure } : { model }, signal);
  }

  /** Yield the steps of the creation of a model. */
  create(request: CreateRequest, signal: AbortSignal): AsyncGenerator<StatusEvent> {
    return this.stream('api/create', request, signal);
  }

  /** Return whether the store has a blob. */
  async hasBlob(digest: string): Promise<boolean> {
    const response = await this.send(`${this.prefix}/api/blobs/${digest}`, { method: 'HEAD' });
    if (!response.ok && response.status !== 404) {
      throw await errorOf(response);
    }
    return response.ok;
  }

  /** Upload a blob. A file is read from the disk while it is sent. */
  async upload(
    digest: string,
    file: Blob,
    signal: AbortSignal,
    onSent: (bytes: number) => void
  ): Promise<void> {
    const response = await this.sendFile(
      `${this.prefix}/api/blobs/${digest}`,
      file,
      signal,
      onSent
    );
    if (!response.ok) {
      throw await errorOf(response);
    }
  }

  /** Stream the answer to a prompt. */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
    return this.stream('api/generate', request, signal);
  }

  /** Stream the answer of a conversation. */
  chat(request: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
    return this.stream('api/chat', { progress: true, ...request }, signal);
  }

  /** Return the user's conversations that the server keeps, as they were saved. */
  async conversations(): Promise<unknown[]> {
    return (await this.get<{ conversations: unknown[] }>('conversations')).conversations;
  }

  /** Save a conversation. The status 409 says that another page has changed it. */
  async saveConversation(id: string, json: string): Promise<void> {
    await this.checked(`conversations/${id}`, { method: 'PUT', body: json });
  }

  /** Delete a conversation, if the server has it. */
  async deleteConversation(id: string): Promise<void> {
    await this.checked(`conversations/${id}`, { method: 'DELETE' });
  }

  /**
   * Return whether the user has a permission on the server that runs the models, which may be a
   * shared server behind this one. A server that does not report it is assumed to grant it.
   */
  async may(right: keyof Rights): Promise<boolean> {
    // Components ask for several rights at once when Lab starts.
    this._usage ??= this.get<{ rights?: Rights }>('usage').finally(() => {
      this._usage = undefined;
    });
    return (await this._usage).rights?.[right] ?? true;
  }

  private async get<T>(path: string, signal?: AbortSignal): Promise<T> {
    // Polling must not count as activity, which would keep an idle server from being culled.
    const init = signal ? { signal } : {};
    return (await this.checked(`${path}?no_track_activity=1`, init)).json();
  }

  private async call(
    method: string,
    path: string,
    body: unknown,
    signal?: AbortSignal
  ): Promise<Response> {
    const init: RequestInit = { method, body: JSON.stringify(body) };
    if (signal) {
      signal.throwIfAborted();
      init.signal = signal;
    }
    return this.checked(path, init);
  }

  private async checked(path: string, init: RequestInit): Promise<Response> {
    const response = await this.send(`${this.prefix}/${path}`, init);
    if (!response.ok) {
      throw await errorOf(response);
    }
    return response;
  }

  private async *stream<T>(path: string, body: object, signal: AbortSignal): AsyncGenerator<T> {
    const response = await this.call('POST', path, { ...body, stream: true }, signal);
    if (!response.body) {
      throw new OllamaError(response.status, 'the answer has no body');
    }
    yield* readLines<T>(response.body);
  }
}
