/** What a condition says. `Unknown` is "being worked on". */
export type ConditionStatus = 'True' | 'False' | 'Unknown';

interface ReasonRow {
  readonly status: ConditionStatus;
  /** What it means to the owner of the Service. */
  readonly meaning: string;
  /** What to do about it. */
  readonly remedy: string;
}

/** Every reason that a Service's condition can show, in one place: code, docs and tests read it from here. */
export const REASONS = {
  Assigned: {
    status: 'True',
    meaning: 'Every node port comes from the range, and this controller wrote at least one of them.',
    remedy: 'Nothing.',
  },
  Adopted: {
    status: 'True',
    meaning: 'The node ports that the Service already had fit its range and were kept as they were.',
    remedy: 'Nothing.',
  },
  HeldOutOfRange: {
    status: 'True',
    meaning:
      'The node ports work and stay, but the range would not give them now: pinned by another manager, there before a default, left by a range that shrank, changed or was deleted, excluded, no longer admitted, or lost to an overlap.',
    remedy:
      'Nothing has to be done. To move into the range, change the annotation; a pinned nodePort has to leave the manifest as well, which moves nothing by itself.',
  },
  RangeNotFound: {
    status: 'False',
    meaning: 'No PortRange has the name that the Service asks for.',
    remedy: 'Correct the annotation, or create the PortRange; the Service is served as soon as it exists.',
  },
  NotAdmitted: {
    status: 'False',
    meaning:
      'The PortRange exists but does not admit Services of this namespace or with these labels; or no PortRange admits the Service.',
    remedy:
      'Ask for another range, give the Service the labels, or have namespaces, namespaceSelector or serviceSelector extended.',
  },
  RangePaused: {
    status: 'False',
    meaning: 'The PortRange keeps its holders but takes no new ones.',
    remedy: 'Wait until it is resumed, or ask for another range.',
  },
  RangeExhausted: {
    status: 'False',
    meaning: 'The PortRange has fewer free ports than the Service needs.',
    remedy: 'Nothing: the Service is served, in order, as soon as ports are released. Or extend the range.',
  },
  QuotaExceeded: {
    status: 'False',
    meaning: 'The namespace or the Service would hold more numbers of this range than its quota allows.',
    remedy: 'Release ports of the same namespace, or have the quota raised.',
  },
  PortTaken: {
    status: 'False',
    meaning: 'A wanted number is held by somebody else; the message names the holder.',
    remedy: 'Nothing: it is given to this Service as soon as it is free. Or ask for another number.',
  },
  PortExcluded: {
    status: 'False',
    meaning: 'A wanted number is excluded from the range.',
    remedy: 'Ask for another number.',
  },
  RequestOutOfRange: {
    status: 'False',
    meaning: 'A wanted number lies outside the range.',
    remedy: 'Ask for a number of the range, or for another range.',
  },
  InvalidRequest: {
    status: 'False',
    meaning: 'The annotations cannot be understood or contradict each other; the message quotes the text.',
    remedy: 'Correct the annotation. Until then nothing about the Service changes.',
  },
  NoNodePorts: {
    status: 'False',
    meaning:
      'The Service asks for node ports, but its type has none, or allocateLoadBalancerNodePorts is false.',
    remedy: 'Set the type to NodePort or LoadBalancer, switch the allocation on, or remove the annotation.',
  },
  RefusedByApiserver: {
    status: 'False',
    meaning: 'The apiserver refused the chosen number for a reason that another number may not cure.',
    remedy: 'Read the message: it carries the answer of the apiserver. It is tried again.',
  },
  Pending: {
    status: 'Unknown',
    meaning: 'The request is being worked on.',
    remedy: 'Wait.',
  },
} as const satisfies Record<string, ReasonRow>;

export type Reason = keyof typeof REASONS;

/** A reason with the sentence shown beside it: what a Service's condition shall say. */
export interface Verdict {
  readonly reason: Reason;
  readonly message: string;
}

export function isReason(text: string): text is Reason {
  return Object.hasOwn(REASONS, text);
}
