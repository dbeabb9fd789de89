package docs_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readmeProgram is the package that README's blocks become: each a function, which a test calls.
const readmeProgram = `package readme

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/dynasession/dynasession"
	"github.com/dynasession/dynasession/dynamotest"
	"github.com/dynasession/dynasession/phpsession"
)

var (
	tokenEnds = time.Now().Add(time.Hour)
	client    = dynamotest.NewServer().Client()
	sorry     = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusTeapot) }
	measure   = func(context.Context, dynasession.Event) {}
	upgrade   = func(data []byte) []byte { return data }
	myHandler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if sess, err := dynasession.Load(r.Context()); err == nil {
			sess.SetUser("alice")
		}
	})
	_, _, _ = fmt.Sprint, log.Print, config.LoadDefaultConfig
	_       = phpsession.Config
)

func run(t *testing.T, cfg dynasession.Config, before, deed func(http.ResponseWriter, *http.Request, *dynasession.Session, *dynasession.Store)) *httptest.ResponseRecorder {
	t.Helper()
	store, err := dynasession.New(client, cfg)
	if err == nil {
		err = store.CreateTable(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	var cookies []*http.Cookie
	var w *httptest.ResponseRecorder
	for _, f := range []func(http.ResponseWriter, *http.Request, *dynasession.Session, *dynasession.Store){before, deed} {
		h := store.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sess, err := dynasession.Load(r.Context())
			if err != nil {
				t.Error(err)
				return
			}
			f(w, r, sess, store)
		}))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.example.com/", http.NoBody)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		cookies = w.Result().Cookies()
	}
	return w
}

func seed(_ http.ResponseWriter, _ *http.Request, sess *dynasession.Session, _ *dynasession.Store) { sess.Set("token", "t") }

func TestByExample(t *testing.T) {
	w := run(t, dynasession.Config{Table: "by-example", UserIndex: "by-user"}, seed, byExample)
	if w.Code != http.StatusOK {
		t.Error(w.Code, w.Body)
	}
}

// Who signed in long ago is sent away, and does not pay.
func TestSignInAgain(t *testing.T) {
	w := run(t, dynasession.Config{Table: "again"}, seed, func(w http.ResponseWriter, r *http.Request, sess *dynasession.Session, _ *dynasession.Store) {
		if paid := signInAgain(w, r, sess); paid {
			t.Error("paid")
		}
	})
	if w.Code != http.StatusSeeOther {
		t.Error(w.Code)
	}
}

func TestSave(t *testing.T) {
	if w := run(t, dynasession.Config{Table: "save"}, seed, save); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
}

func TestSettings(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	run(t, dynasession.Config{Table: "settings"}, seed, settings)
}

func TestCodec(t *testing.T) {
	run(t, dynasession.Config{Table: "codec", Codec: upgrading{}}, seed, func(_ http.ResponseWriter, _ *http.Request, sess *dynasession.Session, _ *dynasession.Store) {
		if token, ok := dynasession.Get[string](sess, "token"); !ok || token != "t" {
			t.Error(token, ok)
		}
	})
}

func TestPHP(t *testing.T) {
	cfg := phpsession.Config("CAKEPHP")
	cfg.Table = "php"
	if w := run(t, cfg, seed, php); w.Code != http.StatusOK {
		t.Error(w.Code, w.Body)
	}
}
`

// TestREADMERuns runs the code of README.md, as it is copied from there.
func TestREADMERuns(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	more, err := os.ReadFile("docs/testing.md")
	require.NoError(t, err)
	text = append(text, more...)
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	find := func(words string) string {
		for _, b := range blocks {
			if strings.Contains(b, words) {
				return b
			}
		}
		require.Fail(t, "no block has "+words)
		return ""
	}
	const (
		request   = "(w http.ResponseWriter, r *http.Request, sess *dynasession.Session, "
		signature = request + "store *dynasession.Store)"
		makes     = request + "_ *dynasession.Store)" // a store of its own
	)
	again := regexp.MustCompile(`(?s)if time\.Since\(sess\.AuthTime.*?\n}\n`).FindString(find("sess.AuthTime"))
	require.NotEmpty(t, again)
	again = regexp.MustCompile(`\breturn\b`).ReplaceAllString(again, "return false")
	code := readmeProgram +
		"\nfunc byExample" + signature + " {\n\tctx := r.Context()\n" + used(t, find("sess.AuthTime")) + "}\n" +
		"\nfunc signInAgain(w http.ResponseWriter, r *http.Request, sess *dynasession.Session) bool {\n" + again + "return true\n}\n" +
		"\nfunc save" + signature + " {\n\tctx := r.Context()\n" + used(t, find("before the first byte")) + "}\n" +
		"\nfunc settings" + makes + " {\n\tctx := r.Context()\n" + used(t, find("ConfigFromEnv")) + "}\n" +
		"\n" + find("type upgrading") + "\n" + find("func TestLogin") +
		"\nfunc php" + makes + " {\n" + used(t, find("phpsession.KeepAlive")) + "}\n"

	dir := t.TempDir()
	root, err := os.Getwd()
	require.NoError(t, err)
	overlay := map[string]map[string]string{"Replace": {}}
	for name, source := range map[string]string{"readme/readme_test.go": code, "readmeprogram/main.go": find("package main")} {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
		overlay["Replace"][filepath.Join(root, "internal", filepath.FromSlash(name))] = file
	}
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600))
	program := filepath.Join(dir, "readme.exe")
	for _, args := range [][]string{
		{"go", "test", "-c", "-vet=off", "-o", program, "-overlay", filepath.Join(dir, "overlay.json"), "./internal/readme"},
		{program},
		{"go", "build", "-o", os.DevNull, "-overlay", filepath.Join(dir, "overlay.json"), "./internal/readmeprogram"},
	} {
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// used adds to a block a use of each variable that it declares.
func used(t *testing.T, block string) string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", "package p\nfunc f() {\n"+block+"\n}", parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, stmt := range file.Decls[0].(*ast.FuncDecl).Body.List {
		if assign, ok := stmt.(*ast.AssignStmt); ok && assign.Tok == token.DEFINE {
			for _, name := range assign.Lhs {
				block += fmt.Sprintf("_ = %s\n", name.(*ast.Ident).Name)
			}
		}
	}
	return block
}
