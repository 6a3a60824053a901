/**
 * The lines of a watch stream. Split on '\n' alone: readline and its like also break at U+2028 and U+2029, which
 * JSON allows inside a string (Go escapes them, a proxy in another language may not), and then lose the event.
 */
import { wireError } from './wire.ts';

/**
 * Whole lines, without empty ones. Chunks may end anywhere, inside a character too.
 * @param heard called for every chunk, before its lines
 * @throws wireError(reset) when the stream ends inside a line: half an object is no object
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, heard: () => void): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let open = '';
  for await (const chunk of chunks) {
    heard();
    const text = decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', from)) {
      const line = open + text.slice(from, end);
      open = '';
      from = end + 1;
      if (line.trim() !== '') yield line;
    }
    open += text.slice(from);
  }
  open += decoder.decode();
  if (open.trim() !== '')
    throw wireError('reset', `the stream ended inside a line, after ${open.length} characters`);
}
