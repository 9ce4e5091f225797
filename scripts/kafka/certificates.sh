# Certificates of the secured listeners, made when a cluster is made. Sourced by kafka.sh.
#
# Kafka and its clients read PEM, so OpenSSL is all that is needed. A key is of a curve: it takes
# milliseconds to make.

# make_certificates FOLDER: a CA (ca.pem), and what it signs. Of each NAME there are NAME.pem, the
# certificate, and NAME.key:
#   broker      for localhost and 127.0.0.1
#   expired     the same, but it ended yesterday
#   other-host  for a host that is not this one
#   client      for clients of the listener that asks for a certificate
make_certificates() {
  (
    umask 077
    rm -rf "$1" && mkdir -p "$1" && cd "$1" || exit 1
    make_authority &&
      sign broker "$LOOPBACK" serverAuth yesterday '+30 days' &&
      sign expired "$LOOPBACK" serverAuth '-30 days' yesterday &&
      sign other-host DNS:other.example serverAuth yesterday '+30 days' &&
      sign client DNS:client.example clientAuth yesterday '+30 days'
  ) || die "OpenSSL could not make the certificates; what it said: $1/openssl.log"
}
LOOPBACK=DNS:localhost,IP:127.0.0.1

# Without set -e, which does not hold inside a condition: each step says how it went.
# `openssl ca` is the one subcommand that takes both ends of a validity in every version.
make_authority() {
  mkdir issued && : >index.txt || return 1
  cat >authority.cnf <<'CONFIG'
[ca]
default_ca = ca_of_tests
[ca_of_tests]
database = index.txt
new_certs_dir = issued
certificate = ca.pem
private_key = ca.key
default_md = sha256
rand_serial = yes
unique_subject = no
copy_extensions = copy
policy = any_name
[any_name]
commonName = supplied
[req]
distinguished_name = no_questions
[no_questions]
CONFIG
  new_key ca &&
    openssl req -config authority.cnf -x509 -new -key ca.key -days 30 \
      -subj "/CN=CA of Headwater's tests" -addext basicConstraints=critical,CA:TRUE \
      -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem 2>>openssl.log
}

# sign NAME SUBJECT-ALTERNATIVE-NAMES PURPOSE FROM TO
sign() {
  new_key "$1" &&
    openssl req -config authority.cnf -new -key "$1.key" -subj "/CN=$1" \
      -addext "subjectAltName=$2" -addext "extendedKeyUsage=$3" -out "$1.csr" 2>>openssl.log &&
    openssl ca -config authority.cnf -batch -notext -in "$1.csr" -out "$1.pem" \
      -startdate "$(moment "$4")" -enddate "$(moment "$5")" 2>>openssl.log
}
moment() { date -u -d "$1" +%Y%m%d%H%M%SZ; }

# In PKCS#8, the form that Kafka reads.
new_key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>>openssl.log
}
