/** What a PortRange says of a number and of a Service, as the reference of the API has it; for who judges the controller. */
import type { RangeSpec, Selector } from './objects.ts';

export type Labels = Readonly<Record<string, string>>;

/** A Service, as far as admission goes. */
export interface Applicant {
  readonly namespace: string;
  /** Of the Namespace; undefined: not known. */
  readonly namespaceLabels: Labels | undefined;
  readonly labels: Labels;
}

export function contains(spans: RangeSpec['ranges'], number: number): boolean {
  return spans.some(({ from, to = from }) => from <= number && number <= to);
}

/** Whether the PortRange by itself can give the number; an older one may have it. */
export function isIn({ ranges, excluded = [] }: RangeSpec, number: number): boolean {
  return contains(ranges, number) && !contains(excluded, number);
}

/** By the name of its Namespace or the labels of that, and by its own labels. What is not known is taken to match. */
export function admits(spec: RangeSpec, { namespace, namespaceLabels, labels }: Applicant): boolean {
  const { namespaces, namespaceSelector, serviceSelector } = spec;
  if (serviceSelector !== undefined && !matches(serviceSelector, labels)) return false;
  if (namespaces === undefined && namespaceSelector === undefined) return true;
  if (namespaces?.includes(namespace)) return true;
  return (
    namespaceSelector !== undefined &&
    (namespaceLabels === undefined || matches(namespaceSelector, namespaceLabels))
  );
}

function matches({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === 'Exists') return value !== undefined;
      if (operator === 'DoesNotExist') return value === undefined;
      const isAmong = value !== undefined && values.includes(value);
      return operator === 'In' ? isAmong : !isAmong;
    })
  );
}
