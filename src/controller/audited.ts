/** What the audit log says, in one place: code, page and tests read it from here. */

/** The transitions of a number, each with its line in the log: the value of the field `audit`. */
export const AUDITED = {
  reserved: 'The table says that the number is this Service’s, which does not have it yet.',
  assigned:
    'The Service has the number, which the controller wrote, and its condition says that it holds it.',
  adopted: 'The same of a number that the Service already had.',
  moved: 'The same of a number that it has instead of one that it held before.',
  released:
    'The number is not the Service’s any more, and rests until `until`. Without `until` the Service keeps it and is unmanaged from now on.',
  refused:
    'A request cannot be granted, and the condition says so; or the apiserver refused a number. Told again when what it says changes.',
  healed: 'The record of the number was lost, edited or damaged, and is written again.',
} as const;

export type Audited = keyof typeof AUDITED;

/** The fields of these lines, beside `level`, `time` and `msg`. A line has those that apply. */
export const AUDIT_FIELDS = {
  audit: 'which transition; only these lines have it',
  service: 'who: namespace/name',
  uid: 'the UID of that Service, because one made again under the same name is somebody else',
  port: 'the number',
  names: 'for which ports of the Service: `name:port/protocol`',
  wanted: '`refused` only: the numbers that the request names',
  from: 'the number that the ports were on before. `healed`: what the table said instead',
  to: 'the number that they are on now. `healed`: what the table says now',
  range: 'the PortRange that it counts for, or that was asked first',
  request: 'what was asked for and granted, as the table records it',
  reason: 'the reason that the condition shows ([reasons](reasons.md))',
  message: 'its message; or the words of the apiserver',
  check: 'the check that decided, see below',
  until: '`released` only: until when the number rests',
  kind: '`healed` only: `edited`, `deleted` or `corrupt`; `rebuilt`: the entry was gone when the controller started, or with a damaged block',
  block: '`healed` only: the ConfigMap',
  by: '`healed` only: the field manager that changed the table, such as `kubectl-edit`, where the apiserver remembers one',
} as const;
