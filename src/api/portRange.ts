/**
 * PortRange, as the apiserver serves it. The CRD (crds/portranges.yaml) is the source of truth for its shape and holds
 * all validation; test/api/portRange.drift.test.ts keeps these types equal to it.
 *
 * A field is optional here exactly when the schema does not require it. The apiserver fills in `portRangeDefaults`, so
 * an object that it served has them; one written in a test need not.
 */

export const portRangeGroup = 'nodeport-manager.io';
export const portRangeVersion = 'v1alpha1';
export const portRangeApiVersion = `${portRangeGroup}/${portRangeVersion}` as const;
/** The collection; one object is at `${portRangePath}/${name}`, its status below that at `/status`. */
export const portRangePath = `/apis/${portRangeApiVersion}/portranges` as const;

/** What the apiserver writes into a spec that leaves these out. */
export const portRangeDefaults = {
  assignment: 'Requested',
  priority: 0,
  strategy: 'Sequential',
  paused: false,
  cooldown: '5m',
} as const satisfies Partial<PortRangeSpec>;

/** Node ports `from` to `to`, both included (1–65535, `to` ≥ `from`); without `to`, the one port `from`. */
export interface PortSpan {
  readonly from: number;
  readonly to?: number;
}

/** A span as status shows it: both ends written out. */
type ClosedPortSpan = Required<PortSpan>;

/** `Requested`: Services that ask. `Automatic`: every admitted Service that has node ports. */
type Assignment = 'Requested' | 'Automatic';

/** How a free number is picked once the last owner's own number is out of the question. */
type Strategy = 'Sequential' | 'Random' | 'Hash';

type LabelSelectorOperator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';

/** `values` has at least one item for `In` and `NotIn`, and none for `Exists` and `DoesNotExist`. */
interface LabelSelectorRequirement {
  readonly key: string;
  readonly operator: LabelSelectorOperator;
  readonly values?: readonly string[];
}

/** Kubernetes' metav1.LabelSelector: all terms must hold; the empty selector matches everything. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly LabelSelectorRequirement[];
}

/** Upper bounds, in numbers (not Services), each ≥ 1; an absent one does not limit. */
interface Quota {
  /** Counts every number of the segment held from that namespace, managed or not. */
  readonly perNamespace?: number;
  readonly perService?: number;
}

/** How the range grows by itself when it is nearly full. */
interface Expansion {
  /** 1–100: grow when `usedPercent` reaches this. */
  readonly thresholdPercent: number;
  /** Numbers added at a time. */
  readonly step: number;
  /** The most numbers the range may have in all, declared and expanded. */
  readonly maxPorts: number;
  /** Where the added numbers come from. */
  readonly within: readonly PortSpan[];
}

export interface PortRangeSpec {
  readonly ranges: readonly PortSpan[];
  /** Never handed out, never approved. */
  readonly excluded?: readonly PortSpan[];
  /** Only for a Service that asks for that very number. */
  readonly explicitOnly?: readonly PortSpan[];
  /** Admitted by name; with `namespaceSelector`, either suffices; with neither, every namespace is admitted. */
  readonly namespaces?: readonly string[];
  readonly namespaceSelector?: LabelSelector;
  /** When given, the Service must match as well. */
  readonly serviceSelector?: LabelSelector;
  readonly assignment?: Assignment;
  /** Higher is tried first; then the older PortRange, then by name. */
  readonly priority?: number;
  readonly strategy?: Strategy;
  /** Keeps its holders, takes no new ones. */
  readonly paused?: boolean;
  /** `5m`, `1h30m`, `0s`; at most 168h. */
  readonly cooldown?: string;
  readonly quota?: Quota;
  /** Names of PortRanges to try, in order, when this one has no free port; one level. */
  readonly spillover?: readonly string[];
  readonly expansion?: Expansion;
}

/** metav1.Condition. */
export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** `metadata.generation` of the object that this was concluded from. */
  readonly observedGeneration?: number;
  /** RFC 3339, of the last change of `status`. */
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

/** All counts are in numbers. */
export interface PortRangeStatus {
  readonly observedGeneration?: number;
  /** Declared and expanded, for people: `30100-30199,30250`. */
  readonly ports?: string;
  /** What it can give: without `excluded` and without what an older PortRange has. */
  readonly effective?: readonly ClosedPortSpan[];
  /** Size of `effective`. */
  readonly capacity?: number;
  /** Held by managed Services of this range. */
  readonly allocated?: number;
  /** In the segment, held by anything else. */
  readonly foreign?: number;
  readonly coolingDown?: number;
  /** What a request without `ports` could get. */
  readonly free?: number;
  /** Free, but only by number. */
  readonly explicitOnlyFree?: number;
  /** 100·(capacity − free − explicitOnlyFree)/capacity, rounded down; 100 when capacity is 0. */
  readonly usedPercent?: number;
  /** Numbers of managed holders that the range no longer contains. */
  readonly outOfRange?: number;
  /** Services (not numbers) that wait for this range. */
  readonly pending?: number;
  readonly expanded?: readonly ClosedPortSpan[];
  /** Of the types `Ready`, `Overlapping`, `Exhausted` and `WithinNodePortRange`. */
  readonly conditions?: readonly Condition[];
}

/** The part of metav1.ObjectMeta that matters about a PortRange. */
interface PortRangeMeta {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  /** RFC 3339. Of two overlapping PortRanges the older keeps the shared numbers. */
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface PortRange {
  readonly apiVersion: typeof portRangeApiVersion;
  readonly kind: 'PortRange';
  readonly metadata: PortRangeMeta;
  readonly spec: PortRangeSpec;
  readonly status?: PortRangeStatus;
}
