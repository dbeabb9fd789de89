package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"time"
)

// tlsHost is the name of the shop with -tls. Browsers bind no session on localhost.
const tlsHost = "shop.test"

// newCertificate returns a certificate for tlsHost, and the hash of its key, by which Chromium can be made to trust it.
func newCertificate() (cert tls.Certificate, pin string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: tlsHost}, DNSNames: []string{tlsHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return cert, "", err
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return cert, "", err
	}
	sum := sha256.Sum256(spki)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.StdEncoding.EncodeToString(sum[:]), nil
}

// printTLS says how to open the shop with device-bound sessions.
func printTLS(port int, pin string) {
	fmt.Printf(`Listening on https://%s:%d. Open it with
  chromium --user-data-dir=/tmp/shop --host-resolver-rules="MAP %s 127.0.0.1" \
    --ignore-certificate-errors-spki-list=%s \
    --enable-features=DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting https://%s:%d
`, tlsHost, port, tlsHost, pin, tlsHost, port)
}
