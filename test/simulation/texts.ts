import { isObject, type JsonObject } from './patches.ts';

const texts = new WeakMap<JsonObject, string>();

/** As JSON. Objects of the apiserver never change, and many are told of each: one text for all. */
export function textOf(body: JsonObject): string {
  let text = texts.get(body);
  if (text !== undefined) return text;
  const { items, ...rest } = body;
  if (!Array.isArray(items)) text = JSON.stringify(body);
  else text = `${JSON.stringify(rest).slice(0, -1)},"items":[${items.filter(isObject).map(textOf).join()}]}`;
  texts.set(body, text);
  return text;
}
