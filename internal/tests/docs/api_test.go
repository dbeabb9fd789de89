package docs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession"
)

// The API that programs compile against. Whoever changes a line of it breaks them: a name,
// a parameter or a field that is missing or of another type does not compile here.

// Functions.
var (
	_ func(*dynamodb.Client, dynasession.Config) (*dynasession.Store, error) = dynasession.New
	_ func(context.Context) (*dynasession.Store, error)                      = dynasession.FromEnv
	_ func() (dynasession.Config, error)                                     = dynasession.ConfigFromEnv
	_ func(aws.Config, ...func(*dynamodb.Options)) *dynamodb.Client          = dynasession.NewClient
	_ func(context.Context) (*dynasession.Session, error)                    = dynasession.Load

	_ func(*dynasession.Session, string) (string, bool)           = dynasession.Get[string]
	_ func(*dynasession.Session, string) (map[string][]int, bool) = dynasession.Get[map[string][]int]
	_ func(*dynasession.Session, string) (string, bool)           = dynasession.Pop[string]
	_ func(*dynasession.Session, string) (func(), bool)           = dynasession.Pop[func()]
	_ func(*dynasession.Session, string, func(int) int)           = dynasession.Update[int]
	_ func(*dynasession.Session, string, func([]string) []string) = dynasession.Update[[]string]
	_ func(*dynasession.Session) []string                         = dynasession.Flashes[string]
	_ func(*dynasession.Session) []struct {
		Level int
		Text  string
	} = dynasession.Flashes[struct {
		Level int
		Text  string
	}]
)

// Methods.
var (
	_ func(*dynasession.Store, http.Handler) http.Handler                                                 = (*dynasession.Store).Middleware
	_ func(*dynasession.Store, context.Context) (*dynasession.Session, error)                             = (*dynasession.Store).Load
	_ func(*dynasession.Store, context.Context, ...string) (*dynasession.Session, error)                  = (*dynasession.Store).Start
	_ func(*dynasession.Store) string                                                                     = (*dynasession.Store).CookieName
	_ func(*dynasession.Store, context.Context) iter.Seq2[dynasession.Info, error]                        = (*dynasession.Store).All
	_ func(*dynasession.Store, context.Context, dynasession.Info) error                                   = (*dynasession.Store).End
	_ func(*dynasession.Store, context.Context) error                                                     = (*dynasession.Store).Open
	_ func(*dynasession.Store) error                                                                      = (*dynasession.Store).Close
	_ func(*dynasession.Store, context.Context, string) ([]byte, error)                                   = (*dynasession.Store).Read
	_ func(*dynasession.Store, context.Context, string, []byte) error                                     = (*dynasession.Store).Write
	_ func(*dynasession.Store, context.Context, string) error                                             = (*dynasession.Store).Destroy
	_ func(*dynasession.Store, context.Context, time.Duration) (int, error)                               = (*dynasession.Store).GC
	_ func(*dynasession.Store) string                                                                     = (*dynasession.Store).CreateID
	_ func(*dynasession.Store, context.Context, string) (bool, error)                                     = (*dynasession.Store).ValidateID
	_ func(*dynasession.Store, context.Context, string) error                                             = (*dynasession.Store).UpdateTimestamp
	_ func(*dynasession.Store, context.Context) error                                                     = (*dynasession.Store).CreateTable
	_ func(*dynasession.Store, context.Context, dynasession.SweepOptions) (dynasession.SweepStats, error) = (*dynasession.Store).Sweep
	_ func(*dynasession.Store, context.Context, string) ([]dynasession.Info, error)                       = (*dynasession.Store).UserSessions
	_ func(*dynasession.Store, context.Context, string, func(dynasession.Info) bool) (int, error)         = (*dynasession.Store).DestroyUser

	_ func(*dynasession.Session, string, any)           = (*dynasession.Session).Set
	_ func(*dynasession.Session, string, any) error     = (*dynasession.Session).Decode
	_ func(*dynasession.Session, string) bool           = (*dynasession.Session).Has
	_ func(*dynasession.Session, string)                = (*dynasession.Session).Delete
	_ func(*dynasession.Session) []string               = (*dynasession.Session).Keys
	_ func(*dynasession.Session, any)                   = (*dynasession.Session).AddFlash
	_ func(*dynasession.Session) string                 = (*dynasession.Session).ID
	_ func(*dynasession.Session) string                 = (*dynasession.Session).Ref
	_ func(*dynasession.Session) bool                   = (*dynasession.Session).IsNew
	_ func(*dynasession.Session) time.Time              = (*dynasession.Session).Created
	_ func(*dynasession.Session) time.Time              = (*dynasession.Session).Expires
	_ func(*dynasession.Session) string                 = (*dynasession.Session).User
	_ func(*dynasession.Session) time.Time              = (*dynasession.Session).AuthTime
	_ func(*dynasession.Session, string)                = (*dynasession.Session).SetUser
	_ func(*dynasession.Session)                        = (*dynasession.Session).Renew
	_ func(*dynasession.Session, time.Duration)         = (*dynasession.Session).Remember
	_ func(*dynasession.Session, time.Time)             = (*dynasession.Session).LimitTo
	_ func(*dynasession.Session)                        = (*dynasession.Session).Destroy
	_ func(*dynasession.Session, context.Context) error = (*dynasession.Session).Save
	_ func(*dynasession.Session) *http.Cookie           = (*dynasession.Session).Cookie
	_ func(*dynasession.Session) error                  = (*dynasession.Session).Close
	_ func(*dynasession.Session) bool                   = (*dynasession.Session).Ended
	_ func(*dynasession.Session) time.Time              = (*dynasession.Session).Deadline
	_ func(*dynasession.Session) bool                   = (*dynasession.Session).DeviceBound
	_ func(*dynasession.Session) slog.Value             = (*dynasession.Session).LogValue
	_ func(*dynasession.Session) string                 = (*dynasession.Session).String
	_ func(dynasession.Info, string, any) error         = dynasession.Info.Decode
	_ func(dynasession.Info) []string                   = dynasession.Info.Keys
	_ func(dynasession.Config) string                   = dynasession.Config.String
	_ func(dynasession.Config) string                   = dynasession.Config.GoString
	_ func(dynasession.Config) slog.Value               = dynasession.Config.LogValue
	_ func(dynasession.Concurrency) ([]byte, error)     = dynasession.Concurrency.MarshalText
	_ func(*dynasession.Concurrency, []byte) error      = (*dynasession.Concurrency).UnmarshalText
)

// Interfaces: each converts to the other only if their methods are the same.
type (
	saveHandler = interface {
		Open(ctx context.Context) error
		Close() error
		Read(ctx context.Context, id string) ([]byte, error)
		Write(ctx context.Context, id string, data []byte) error
		Destroy(ctx context.Context, id string) error
		GC(ctx context.Context, maxLifetime time.Duration) (deleted int, err error)
	}
	codec = interface {
		Marshal(v any) ([]byte, error)
		Unmarshal(data []byte, v any) error
		Join(values []dynasession.KeyValue) ([]byte, error)
		Split(data []byte) ([]dynasession.KeyValue, error)
	}
)

var (
	_ saveHandler             = dynasession.SaveHandler(nil)
	_ dynasession.SaveHandler = saveHandler(nil)
	_ codec                   = dynasession.Codec(nil)
	_ dynasession.Codec       = codec(nil)

	_ dynasession.SaveHandler = (*dynasession.Store)(nil)
	_ dynasession.Codec       = dynasession.JSON{}
	_ slog.LogValuer          = (*dynasession.Session)(nil)
	_ fmt.Stringer            = (*dynasession.Session)(nil)
	_ slog.LogValuer          = dynasession.Config{}
	_ fmt.GoStringer          = dynasession.Config{}
)

// Structs: they convert only while all fields have these names, types and order.
var (
	_ = dynasession.Config(struct {
		Table            string
		Name             string
		IdleTimeout      time.Duration
		Lifetime         time.Duration
		TouchAfter       time.Duration
		NotBefore        time.Time
		Concurrency      dynasession.Concurrency
		LockWait         time.Duration
		LockLease        time.Duration
		EventualReads    bool
		InsecurePlainIDs bool
		EncryptionKeys   [][]byte
		NoCompression    bool
		Cookie           dynasession.CookieConfig
		Codec            dynasession.Codec
		Attributes       dynasession.Attributes
		BinaryData       bool
		ForeignWriters   bool
		UserIndex        string
		DeviceBound      time.Duration
		Timeout          time.Duration
		ErrorHandler     func(w http.ResponseWriter, r *http.Request, err error)
		Logger           *slog.Logger
		Before           func(ctx context.Context, op string) context.Context
		Observer         func(ctx context.Context, e dynasession.Event)
	}{})
	_ = dynasession.CookieConfig(struct {
		Name        string
		Domain      string
		Path        string
		SameSite    http.SameSite
		Partitioned bool
		Persist     bool
		Insecure    bool
	}{})
	_ = dynasession.Attributes(struct{ ID, Expires, Data, User string }{})
	_ = dynasession.KeyValue(struct {
		Key   string
		Value []byte
	}{})
	_ = dynasession.JSON(struct{}{})
	_ = dynasession.SweepOptions(struct {
		MaxLifetime    time.Duration
		DryRun         bool
		Segments       int
		UnitsPerSecond float64
		Progress       func(dynasession.SweepStats)
	}{})
	_ = dynasession.SweepStats(struct {
		Scanned, Expired, Deleted int
		ReadUnits, WriteUnits     float64
	}{})
	_ = dynasession.Event(struct {
		Op                    string
		Ref                   string
		Start                 time.Time
		Duration              time.Duration
		ReadUnits, WriteUnits float64
		Conflicts             int
		Err                   error
	}{})
	_ = func(i dynasession.Info) ([2]*string, [4]*time.Time) { // it has fields of its own
		return [2]*string{&i.Ref, &i.User}, [4]*time.Time{&i.Created, &i.AuthTime, &i.LastUsed, &i.Expires}
	}
)

// Constants: of that type, and of that value.
var (
	_ = func() []*dynasession.Concurrency {
		merge, lock, last := dynasession.Merge, dynasession.Lock, dynasession.LastWriteWins
		return []*dynasession.Concurrency{&merge, &lock, &last}
	}
	_ [0]int = [dynasession.Merge]int{}
	_ [1]int = [dynasession.Lock]int{}
	_ [2]int = [dynasession.LastWriteWins]int{}

	_ [1]int               = [dynasession.DefaultIdleTimeout / time.Hour]int{}
	_ [24]int              = [dynasession.DefaultLifetime / time.Hour]int{}
	_ [10]int              = [dynasession.DefaultLockWait / time.Second]int{}
	_ [30]int              = [dynasession.DefaultLockLease / time.Second]int{}
	_ [5]int               = [dynasession.DefaultTimeout / time.Second]int{}
	_ [len("sessions")]int = [len(dynasession.DefaultTable)]int{}
	_ [len("session")]int  = [len(dynasession.DefaultName)]int{}
)

// Errors.
var apiErrors = map[string]*error{
	"ErrNoMiddleware": &dynasession.ErrNoMiddleware,
	"ErrNotFound":     &dynasession.ErrNotFound,
	"ErrNoKey":        &dynasession.ErrNoKey,
	"ErrGone":         &dynasession.ErrGone,
	"ErrConflict":     &dynasession.ErrConflict,
	"ErrLocked":       &dynasession.ErrLocked,
	"ErrLockLost":     &dynasession.ErrLockLost,
	"ErrTooLarge":     &dynasession.ErrTooLarge,
	"ErrInvalidID":    &dynasession.ErrInvalidID,
	"ErrCorrupt":      &dynasession.ErrCorrupt,
	"ErrTable":        &dynasession.ErrTable,
	"ErrUnavailable":  &dynasession.ErrUnavailable,
	"ErrCredentials":  &dynasession.ErrCredentials,
}

func TestAPIErrorsDiffer(t *testing.T) {
	texts := map[string]string{}
	for name, err := range apiErrors {
		require.Error(t, *err, name)
		text := (*err).Error()
		assert.True(t, strings.HasPrefix(text, "dynasession: "), "%s: %s", name, text)
		assert.Empty(t, texts[text], "%s has the text of another", name)
		texts[text] = name
		for other, err2 := range apiErrors {
			assert.Equal(t, name == other, errors.Is(*err, *err2), "%s is %s", name, other)
		}
	}
}

func TestAPIOpaqueTypes(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[dynasession.Store](), reflect.TypeFor[dynasession.Session]()} {
		for _, f := range reflect.VisibleFields(typ) {
			assert.False(t, f.IsExported(), "%s.%s is exported", typ, f.Name)
		}
	}
}

// apiPlumbing are methods that other packages call, not people.
var apiPlumbing = map[string]bool{
	"String": true, "GoString": true, "Format": true, "LogValue": true, "MarshalText": true, "UnmarshalText": true,
}

// TestAPIEveryNameIsShown asks of each exported name that an Example or README.md uses it.
func TestAPIEveryNameIsShown(t *testing.T) {
	api := exportedAPI(t)
	require.Greater(t, len(api), 60, "is this the right directory?")
	examples := examplesOfRoot(t)
	shown := usedIn(examples)
	readme := readmeCode(t)

	methods := map[string]int{}
	for name := range api {
		if _, method, ok := strings.Cut(name, "."); ok {
			methods[method]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(api)) {
		typ, method, isMethod := strings.Cut(name, ".")
		switch {
		case isMethod && apiPlumbing[method]:
			continue
		case isMethod && methods[method] > 1: // a name alone does not tell whose it is
			if shown["Example"+typ+"_"+method] || strings.Contains(readme, name) {
				continue
			}
		case isMethod && (shown["."+method] || regexp.MustCompile(`\.`+method+`\b`).MatchString(readme)),
			!isMethod && (shown[name] || shown["Example"+name] || regexp.MustCompile(`\bdynasession\.`+name+`\b`).MatchString(readme)):
			continue
		}
		t.Errorf("%s is in no Example and not in README.md", name)
	}
}

// TestAPIExamplesRun asks of each Example that it has an output, without which go test only
// compiles it, and that it bears the name of something that exists.
func TestAPIExamplesRun(t *testing.T) {
	api := exportedAPI(t)
	for _, e := range doc.Examples(examplesOfRoot(t)...) {
		assert.True(t, e.Output != "" || e.EmptyOutput, "Example%s has no output: it never runs", e.Name)
		assert.NotEmpty(t, e.Doc, "Example%s does not say what it teaches", e.Name)
		typ, rest, _ := strings.Cut(e.Name, "_")
		method, _, _ := strings.Cut(rest, "_")
		assert.True(t, e.Name == "" || typ == "" || api[typ], "Example%s: no %s", e.Name, typ)
		if method != "" && ast.IsExported(method) {
			assert.True(t, api[typ+"."+method], "Example%s: no %s.%s", e.Name, typ, method)
		}
	}
}

// exportedAPI returns what go doc shows, but for fields and interfaces' methods: Name and Type.Method.
func exportedAPI(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	fset := token.NewFileSet()
	for _, name := range rootFiles(t, false) {
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				name := d.Name.Name
				if d.Recv != nil {
					recv := d.Recv.List[0].Type
					if star, ok := recv.(*ast.StarExpr); ok {
						recv = star.X
					}
					typ := recv.(*ast.Ident).Name
					if !ast.IsExported(typ) {
						continue
					}
					name = typ + "." + name
				}
				if d.Name.IsExported() {
					names[name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() {
							names[s.Name.Name] = true
						}
					case *ast.ValueSpec:
						for _, n := range s.Names {
							if n.IsExported() {
								names[n.Name] = true
							}
						}
					}
				}
			}
		}
	}
	return names
}

func examplesOfRoot(t *testing.T) []*ast.File {
	t.Helper()
	var files []*ast.File
	fset := token.NewFileSet()
	for _, name := range rootFiles(t, true) {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		if len(doc.Examples(file)) > 0 {
			files = append(files, file)
		}
	}
	require.NotEmpty(t, files, "no Examples")
	return files
}

// usedIn returns the names that Examples use: Name for dynasession.Name, .Name for other
// selectors, and the Examples' own names.
func usedIn(files []*ast.File) map[string]bool {
	used := map[string]bool{}
	for _, file := range files {
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil && !strings.HasPrefix(f.Name.Name, "Example") {
				continue // helpers show nothing; methods of an Example's types do
			}
			if f.Recv == nil {
				used[f.Name.Name] = true
				typ, _, _ := strings.Cut(f.Name.Name, "_")
				used[typ] = true
			}
			ast.Inspect(f, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "dynasession" {
					used[sel.Sel.Name] = true
				} else {
					used["."+sel.Sel.Name] = true
				}
				return true
			})
		}
	}
	return used
}

// readmeCode returns the code in README.md, blocks and spans; none as long as there is no README.md.
func readmeCode(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	require.NoError(t, err)
	var code bytes.Buffer
	for _, m := range regexp.MustCompile("(?s)```.*?```|`[^`\n]+`").FindAll(text, -1) {
		code.Write(m)
		code.WriteByte('\n')
	}
	return code.String()
}

// rootFiles returns the names of the package's files, or of its tests.
func rootFiles(t *testing.T, tests bool) []string {
	t.Helper()
	all, err := filepath.Glob("*.go")
	require.NoError(t, err)
	files := slices.DeleteFunc(all, func(name string) bool { return strings.HasSuffix(name, "_test.go") != tests })
	require.NotEmpty(t, files)
	return files
}
