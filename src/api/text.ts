/** Text of users (names, annotations) and servers on its way into conditions, events and logs. */

/** Control characters, what is invisible or turns the direction of text, other ends of a line, pairs and halves of UTF-16. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u{10000}-\u{10ffff}]/gu;

/** Quoted, control and bidirectional characters escaped, and cut to `max` characters: safe to print anywhere. */
export function quote(text: string, max = 80): string {
  return printable(JSON.stringify(cut(text, max)));
}

/** One line, as JSON would have it without the quotes: what may move a cursor, or hide, is `\uXXXX`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) =>
    Array.from(
      { length: character.length },
      (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

/** What a server said, as it may be shown: printable, and cut to `max` characters. */
export function told(text: string, max = 1_000): string {
  return printable(cut(text, max));
}

function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}
