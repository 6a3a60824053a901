/**
 * A certificate that only these tests trust: self-signed, for 127.0.0.1 and localhost, until 2125. Kept as text
 * because Node cannot make one, and a machine that runs the tests need not have openssl.
 */
export const selfSigned = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgUgqPzDfBRjfyR6nR
PcRE7Z4O07eiw2EbxQpqWn18AxehRANCAAQ8mixfhVLSx/n8aleuAtBSxAalNCTe
+QTPQum02rlVvnJLFxNigh4fKLLWN/kwZt9pe+Yt5zUHbQ7w7sFByD/q
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBqTCCAU+gAwIBAgIUISMzsRnM+Pp/xzDwqzWcVSzjVf0wCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQa3ViZSB0ZXN0IHNlcnZlcjAgFw0yNjExMjExMTQ2NDlaGA8y
MTI2MTAyODExNDY0OVowGzEZMBcGA1UEAwwQa3ViZSB0ZXN0IHNlcnZlcjBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABDyaLF+FUtLH+fxqV64C0FLEBqU0JN75BM9C
6bTauVW+cksXE2KCHh8ostY3+TBm32l75i3nNQdtDvDuwUHIP+qjbzBtMB0GA1Ud
DgQWBBS/GpfRxIXRp7Hzi4n/3n0kU8pP4DAfBgNVHSMEGDAWgBS/GpfRxIXRp7Hz
i4n/3n0kU8pP4DAPBgNVHRMBAf8EBTADAQH/MBoGA1UdEQQTMBGHBH8AAAGCCWxv
Y2FsaG9zdDAKBggqhkjOPQQDAgNIADBFAiEA96n7s0RK9ia8zG4EygYDQEEATRJw
weTPwtJBwxjEQPICIGELEc9ZjocyTB9pm6+4acZySeyhhkipq0FlcVfugyaC
-----END CERTIFICATE-----`,
};
