// A parser of event streams, as the HTML standard defines them. A block that is cut off yields nothing.

/** The fields of one complete block. */
export interface Block {
  type: string;
  /** `undefined` if the block has no data, so it is no event. */
  data: string | undefined;
  /** `undefined` if the block has no id. */
  id: string | undefined;
  /** Milliseconds. */
  retry: number | undefined;
}

/** Longest line, in characters, so that a server that sends no line end does not fill the memory. */
const LINE_CHARS_MAX = 64 * 1024 * 1024;

export class Parser {
  /** The parts of a line whose end has not come. They are joined once, when it comes. */
  #parts: string[] = [];
  #length = 0;
  /** True if the last chunk ended with CR: an LF at the head of the next belongs to it. */
  #endsWithCr = false;
  #data: string[] = [];
  #block: Block = emptyBlock();

  /** Takes the next characters of the stream, and returns the blocks that they complete. */
  feed(chunk: string): Block[] {
    if (this.#endsWithCr && chunk.startsWith('\n')) {
      chunk = chunk.slice(1);
      this.#endsWithCr = false;
    }
    if (chunk === '') return [];
    this.#endsWithCr = chunk.endsWith('\r');
    const lines = chunk.split(/\r\n|\r|\n/);
    const blocks: Block[] = [];
    if (lines.length > 1) {
      lines[0] = this.#parts.join('') + lines[0];
      this.#parts = [];
      this.#length = 0;
    }
    const rest = lines.pop() as string;
    for (const line of lines) this.#takeLine(line, blocks);
    this.#parts.push(rest);
    this.#length += rest.length;
    if (this.#length > LINE_CHARS_MAX) throw new RangeError(`a line exceeds ${LINE_CHARS_MAX} characters`);
    return blocks;
  }

  #takeLine(line: string, blocks: Block[]): void {
    const block = this.#block;
    if (line === '') {
      if (this.#data.length > 0) block.data = this.#data.join('\n');
      if (block.data !== undefined || block.id !== undefined || block.retry !== undefined) blocks.push(block);
      this.#block = emptyBlock();
      this.#data = [];
      return;
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') block.type = value || 'message';
    else if (name === 'id' && !value.includes('\0')) block.id = value;
    else if (name === 'retry' && /^\d+$/.test(value)) block.retry = Number(value);
  }
}

function emptyBlock(): Block {
  return { type: 'message', data: undefined, id: undefined, retry: undefined };
}
