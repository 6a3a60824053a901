/** Every check that can decide about a port, in one place: the logs and their page name them. */
export const CHECKS = {
  namespaceIsKnown:
    'Has the watch shown the Namespace? Until then its labels and its default are unknown, which is not "none".',
  isManaged: 'Does an annotation, a default of the Namespace or an Automatic PortRange reach the Service?',
  requestIsWellFormed: 'Can the annotations be understood, and do they name what the Service has?',
  hasNodePorts: 'Does the type of the Service have node ports?',
  claimsAgreeWithTheRequest: 'Does the request name the same numbers that others have pinned?',
  keepsWhatItHolds:
    'Does it have what it asks for, and has its request not changed? Then all stays as it is.',
  rangeExists: 'Is there a PortRange of that name?',
  admitsTheService: 'Does the PortRange admit the namespace and the labels?',
  isNotPaused: 'Does the PortRange take new holders?',
  allowsWantedNumbers: 'Can the PortRange give the numbers that the request names?',
  findsPorts: 'Is there a free number for each port?',
  serviceExists: 'Is the Service of this UID still there? The apiserver itself is asked.',
  apiserverAccepts: 'Did the apiserver take the numbers?',
} as const;

export type CheckName = keyof typeof CHECKS;
