/** A strict reader of the XML that pictures consist of: elements, attributes, text, comments. It refuses what is not well-formed. */

export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: (XmlElement | string)[];
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const COMMENT = /<!--(?:(?!--)[^])*-->/y;
const OPEN = /<([A-Za-z][\w.-]*)((?:\s+[A-Za-z][\w:.-]*="[^"<]*")*)\s*(\/?)>/y;
const CLOSE = /<\/([A-Za-z][\w.-]*)\s*>/y;
const TEXT = /[^<]+/y;
/** Everything that XML 1.0 allows. */
const ALLOWED = /^[\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]*$/u;

/** @throws with the place at which the text is not well-formed */
export function parseXml(text: string): XmlElement {
  if (!ALLOWED.test(text)) throw new Error('a character that XML does not allow');
  const root: XmlElement = { name: '', attributes: {}, children: [] };
  const open = [root];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    at += match?.[0].length ?? 0;
    return match;
  };
  while (at < text.length) {
    const parent = open.at(-1) ?? root;
    if (take(COMMENT) !== null) continue;
    const words = take(TEXT);
    if (words !== null) {
      parent.children.push(decoded(words[0]));
      continue;
    }
    const begin = take(OPEN);
    if (begin !== null) {
      const [, name = '', attributes = '', isEmpty] = begin;
      const element = { name, attributes: attributesOf(attributes), children: [] };
      parent.children.push(element);
      if (isEmpty === '') open.push(element);
      continue;
    }
    const end = take(CLOSE);
    if (end === null || end[1] !== parent.name)
      throw new Error(`not well-formed: ${text.slice(at, at + 60)}`);
    open.pop();
  }
  const elements = root.children.filter((child) => typeof child !== 'string');
  const [only] = elements;
  if (open.length !== 1 || elements.length !== 1 || only === undefined) throw new Error('not one element');
  return only;
}

function attributesOf(text: string): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [, name = '', value = ''] of text.matchAll(/([\w:.-]+)="([^"]*)"/g)) {
    if (Object.hasOwn(attributes, name)) throw new Error(`twice: ${name}`);
    attributes[name] = decoded(value);
  }
  return attributes;
}

function decoded(text: string): string {
  if (text.includes(']]>')) throw new Error(']]> in text');
  return text.replaceAll(/&([^;\s]*;?)/g, (whole, reference: string) => {
    const name = reference.slice(0, -1);
    const number = /^#(\d+)$/.exec(name)?.[1];
    const found = number === undefined ? ENTITIES[name] : String.fromCodePoint(Number(number));
    if (found === undefined || !reference.endsWith(';')) throw new Error(`no such entity: ${whole}`);
    return found;
  });
}

/** The text of every element that has nothing else. */
export function textsOf({ children }: XmlElement): string[] {
  if (children.length > 0 && children.every((child) => typeof child === 'string')) return [children.join('')];
  return children.flatMap((child) => (typeof child === 'string' ? [] : textsOf(child)));
}
