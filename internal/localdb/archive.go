package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// emulator is the npm package in which AWS publishes DynamoDB Local 1.25.1.
var emulator = archive{
	pkg:    "amplify-dynamodb-simulator@2.9.30",
	sha512: "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==",
	prefix: "package/emulator/",
	dir:    "dynamodb-local-1.25.1",
}

// archive is a folder of an npm package that is unpacked in the cache directory.
type archive struct {
	pkg    string // name@version
	sha512 string // of the package's .tgz, as npm writes it: in base64
	prefix string // the folder in the package, with a slash at the end
	dir    string // the directory's name in the cache
}

// install returns the directory of the unpacked archive. It downloads the archive
// first if the cache does not have it. Several processes may install the same
// archive at the same time: each unpacks its own copy, and the first one to
// rename its copy wins.
func (a archive) install(ctx context.Context, stderr io.Writer) (_ string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "dynasession", a.dir)
	if isDir(dir) {
		return dir, nil
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return "", errors.New("npm is missing, which localdb needs to download DynamoDB Local:" +
			" install Node.js with npm (Debian and Ubuntu: apt-get install npm; macOS: brew install node)")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), a.dir+".tmp-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }()

	_, _ = fmt.Fprintf(stderr, "localdb: downloading %s from npm\n", a.pkg)
	tgz, err := a.download(ctx, temp)
	if err != nil {
		return "", fmt.Errorf("npm pack %s: %w", a.pkg, err)
	}
	unpacked := filepath.Join(temp, "unpacked")
	if err := unpack(bytes.NewReader(tgz), a.prefix, unpacked); err != nil {
		return "", fmt.Errorf("unpacking %s: %w", a.pkg, err)
	}
	if err := os.Rename(unpacked, dir); err != nil && !isDir(dir) {
		return "", err
	}
	return dir, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// download makes npm put the package into dir. It checks the package and returns
// its content.
func (a archive) download(ctx context.Context, dir string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "npm", "pack", "--silent", a.pkg)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(output))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("npm wrote %d files, want 1", len(files))
	}
	tgz, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(tgz)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != a.sha512 {
		return nil, fmt.Errorf("the package's SHA-512 is %s, want %s", got, a.sha512)
	}
	return tgz, nil
}

// unpack creates the directory dir, and writes to it the files below prefix in a
// gzipped tar archive. It returns an error for a name that leads out of dir, and
// skips everything that is not a regular file.
func unpack(tgz io.Reader, prefix, dir string) error {
	gz, err := gzip.NewReader(tgz)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()

	for tr := tar.NewReader(gz); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(header.Name, prefix)
		if !ok || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeFile(root, name, tr); err != nil {
			return err
		}
	}
}

func writeFile(root *os.Root, name string, content io.Reader) error {
	path, err := filepath.Localize(name)
	if err != nil {
		return fmt.Errorf("file name %q: %w", name, err)
	}
	if err := root.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	file, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
