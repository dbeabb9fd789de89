package dynasession_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The walls of the package: what each of its files may know. A flat package has none by
// itself, so this table is them. A new file fails TestWalls until somebody has said here
// what it may know: as little as it can do with.
var walls = map[string]fileWalls{
	"doc.go":     {},
	"errors.go":  {},
	"config.go":  {may: wallKnows{mayHTTPWords, mayEnvironment}},
	"session.go": {not: wallOutside},
	"changes.go": {not: wallOutside},
	"values.go":  {not: wallOutside},
	"record.go":  {not: wallOutside},
	"codec.go":   {not: wallOutside},
	"scan.go":    {not: wallOutside},
	"seal.go":    {may: wallKnows{mayCompress}, not: wallOutside},
	"dict.go":    {not: wallOutside},
	"id.go":      {not: wallOutside},
	"cookie.go":  {may: wallKnows{mayHTTP}, not: wallWords("Store", "Session", "table", "record")},

	"store.go":   {may: wallKnows{mayAWS, mayAWSConfig, mayAWSClient, mayClock, mayDeadlines}, not: wallWords("request", "response")},
	"client.go":  {may: wallKnows{mayAWS, mayAWSClient, mayAWSTransport, mayHTTP, maySockets, mayTimers}, not: append(wallWords("Session"), wallOutside...)},
	"load.go":    {may: wallKnows{mayDeadlines, mayGoroutines}, not: wallWords("request", "response")},
	"save.go":    {may: wallKnows{mayDeadlines}, not: wallWords("request", "response")},
	"lock.go":    {may: wallKnows{mayTimers}, not: wallOutside},
	"recent.go":  {may: wallKnows{mayTimers}, not: wallOutside},
	"backoff.go": {may: wallKnows{mayTimers}, not: wallOutside},

	"ghost.go":    {not: wallWords("request", "response")},
	"transact.go": {may: wallKnows{mayAWS, mayAWSClient, mayDataOps}, not: wallWords("Session", "Store", "Middleware", "Codec", "KeyValue", "pending", "change", "request", "response", "cookieMaker")},
	"dynamo.go":   {may: wallKnows{mayAWS, mayAWSClient, mayDataOps}, not: wallWords("Session", "Middleware", "Store", "Load", "Codec", "KeyValue", "pending", "change", "response", "cookieMaker")},
	"inputs.go":   {may: wallKnows{mayAWSClient, mayDataOps}, not: wallWords("Session", "Store", "table", "record", "request", "response")},
	"items.go":    {not: wallWords("Session", "Store", "request", "response")},
	"wire.go":     {may: wallKnows{mayAttempts, mayDataOps}, not: wallWords("Session", "Store", "table", "record", "request", "response")},
	"endpoint.go": {may: wallKnows{mayAWSClient, mayEndpoints}, not: wallWords("Session", "table", "record", "request", "response")},
	"table.go":    {may: wallKnows{mayAWS, mayAWSClient, mayTableOps, mayDeadlines}, not: wallWords("Session", "request", "response")},
	"gc.go":       {may: wallKnows{mayDeadlines, mayGoroutines}, not: wallWords("Session", "request", "response")},
	"user.go":     {not: wallWords("Session", "request", "response")},

	"middleware.go": {may: wallKnows{mayHTTP, maySockets, mayDeadlines}, not: wallWords("table", "keyspace")},
	"response.go":   {may: wallKnows{mayHTTP, maySockets}, not: wallWords("Store", "Session", "table", "record", "keyspace")},
}

// wall is what a file may know beside the harmless parts of the standard library and its
// neighbours, and which neighbours it must not know.
type fileWalls struct {
	may wallKnows
	not []string // identifiers
}

type (
	wallKnows []knowledge
	knowledge string
)

const (
	mayHTTP         knowledge = "net/http"
	mayHTTPWords    knowledge = "net/http's types and constants"
	maySockets      knowledge = "net"
	mayAWS          knowledge = "AWS's packages"
	mayAWSConfig    knowledge = "AWS's settings"
	mayAWSClient    knowledge = "DynamoDB's client"
	mayAWSTransport knowledge = "how AWS's clients connect and retry"
	mayDataOps      knowledge = "DynamoDB's data operations"
	mayAttempts     knowledge = "the SDK's attempts"
	mayEndpoints    knowledge = "where DynamoDB is"
	mayTableOps     knowledge = "DynamoDB's table operations"
	mayClock        knowledge = "the wall clock"
	mayTimers       knowledge = "timers"
	mayDeadlines    knowledge = "deadlines"
	mayGoroutines   knowledge = "goroutines"
	mayEnvironment  knowledge = "the environment"
	mayCompress     knowledge = "how data is compressed"
)

// outside is what the inner files must not know: the store, the table, the request.
var wallOutside = wallWords("Store", "Middleware", "table", "request", "response", "cookieMaker")

func wallWords(names ...string) []string { return names }

// Whoever imports these must be allowed to. An import of another module that is not here is
// forbidden to all.
var guardedImports = map[string][]knowledge{
	"net/http":                            {mayHTTP, mayHTTPWords},
	"net":                                 {maySockets},
	"os":                                  {mayEnvironment},
	"compress/flate":                      {mayCompress},
	"github.com/klauspost/compress/s2":    {mayCompress},
	"github.com/caarlos0/env/v11":         {mayEnvironment},
	"github.com/aws/aws-sdk-go-v2/aws":    {mayAWS},
	"github.com/aws/aws-sdk-go-v2/config": {mayAWSConfig},
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit":          {mayAWSTransport},
	"github.com/aws/aws-sdk-go-v2/aws/retry":              {mayAWSTransport},
	"github.com/aws/aws-sdk-go-v2/aws/transport/http":     {mayAWSTransport},
	"github.com/aws/aws-sdk-go-v2/service/dynamodb":       {mayAWSClient},
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types": {mayDataOps, mayTableOps},
	"github.com/aws/smithy-go":                            {mayDataOps},
	"github.com/aws/smithy-go/endpoints":                  {mayEndpoints},
	"github.com/aws/smithy-go/metrics":                    {mayDataOps},
	"github.com/aws/smithy-go/middleware":                 {mayAttempts},
	"github.com/aws/smithy-go/tracing":                    {mayDataOps},
	"github.com/aws/smithy-go/transport/http":             {mayAttempts},
}

// forbiddenImports are nobody's.
var forbiddenImports = wallWords("unsafe", "reflect", "log", "net/url", "net/rpc", "os/exec", "syscall", "math/big", "plugin", "encoding/gob")

// Whoever uses these functions must be allowed to.
var guardedNames = map[string]map[string]knowledge{
	"time":    guardEach(mayClock, "Now", "Since", "Until").and(mayTimers, "After", "AfterFunc", "NewTicker", "NewTimer", "Sleep", "Tick"),
	"context": guardEach(mayDeadlines, "WithDeadline", "WithDeadlineCause", "WithTimeout", "WithTimeoutCause"),
}

// Names of DynamoDB's API, in whatever package.
var guardedOperations = guardEach(mayDataOps,
	"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "TransactWriteItems", "TransactGetItems",
	"BatchGetItem", "BatchWriteItem", "ExecuteStatement", "ExecuteTransaction", "BatchExecuteStatement",
	"AttributeValue", "AttributeValueMemberS", "AttributeValueMemberN", "AttributeValueMemberB",
).and(mayTableOps,
	"CreateTable", "DescribeTable", "UpdateTable", "DeleteTable", "ListTables", "UpdateTimeToLive", "DescribeTimeToLive")

// httpNames are the words of net/http that are no network.
var httpNames = wallWords("SameSite", "SameSiteDefaultMode", "SameSiteLaxMode", "SameSiteStrictMode", "SameSiteNoneMode", "ResponseWriter", "Request")

type wallGuard map[string]knowledge

func guardEach(k knowledge, names ...string) wallGuard { return wallGuard{}.and(k, names...) }

func (g wallGuard) and(k knowledge, names ...string) wallGuard {
	for _, name := range names {
		g[name] = k
	}
	return g
}

func TestWalls(t *testing.T) {
	files := rootFiles(t, false)
	for _, name := range files {
		w, ok := walls[name]
		if !ok {
			t.Errorf("%s has no walls yet: say in this test's table what it may know", name)
			continue
		}
		src, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, fault := range breaches(t, name, src, w) {
			t.Error(fault)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(walls)) {
		assert.Contains(t, files, name, "there is no such file any more")
	}
}

// TestWallsOfDynamotest: users test with it, and we test it by itself.
func TestWallsOfDynamotest(t *testing.T) {
	n := 0
	err := filepath.WalkDir("dynamotest", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		n++
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			assert.False(t, isOurs(importPath(t, spec)), "%s imports %s", name, spec.Path.Value)
		}
		return nil
	})
	require.NoError(t, err)
	require.NotZero(t, n)
}

const ourModule = "github.com/dynasession/dynasession"

func isOurs(p string) bool { return p == ourModule || strings.HasPrefix(p, ourModule+"/") }

func importPath(t *testing.T, spec *ast.ImportSpec) string {
	t.Helper()
	p, err := strconv.Unquote(spec.Path.Value)
	require.NoError(t, err)
	return p
}

// breaches tells where a file passes its walls.
func breaches(t *testing.T, name string, src []byte, w fileWalls) []string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	require.NoError(t, err)
	var out []string
	fault := func(at ast.Node, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: %s", fset.Position(at.Pos()), fmt.Sprintf(format, args...)))
	}
	may := func(either ...knowledge) bool {
		return slices.ContainsFunc(either, func(k knowledge) bool { return slices.Contains(w.may, k) })
	}

	packages := map[string]string{} // by the name that the file uses
	for _, spec := range file.Imports {
		p := importPath(t, spec)
		needs, guarded := guardedImports[p]
		switch {
		case isOurs(p):
			fault(spec, "imports %s: the root package imports no sub-package", p)
		case slices.Contains(forbiddenImports, p) && (p != "reflect" || !may(mayEnvironment)):
			fault(spec, "imports %s, which is forbidden", p)
		case guarded && !may(needs...):
			fault(spec, "imports %s, and may not know %s", p, needs[0])
		case !guarded && strings.Contains(strings.Split(p, "/")[0], "."):
			fault(spec, "imports %s, another module that no wall tells of", p)
		}
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
			if local == "_" || local == "." {
				fault(spec, "imports %s as %s", p, local)
			}
		}
		packages[local] = p
	}

	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if !may(mayGoroutines) {
				fault(n, "starts a goroutine")
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "panic" || f.Name == "print" || f.Name == "println") {
				fault(n, "calls %s", f.Name)
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			p := packages[x.Name]
			if k, ok := guardedNames[p][n.Sel.Name]; ok && !may(k) {
				fault(n, "uses %s.%s, and may not know %s", p, n.Sel.Name, k)
			}
			if p == "context" && (n.Sel.Name == "Background" || n.Sel.Name == "TODO") {
				fault(n, "uses context.%s: the caller has a context", n.Sel.Name)
			}
			if p == "net/http" && !may(mayHTTP) && !slices.Contains(httpNames, n.Sel.Name) {
				fault(n, "uses http.%s, and may know only %s", n.Sel.Name, mayHTTPWords)
			}
			if p == "sync" && n.Sel.Name == "WaitGroup" && !may(mayGoroutines) {
				fault(n, "uses sync.WaitGroup: starts goroutines")
			}
		case *ast.Ident:
			if slices.Contains(w.not, n.Name) {
				fault(n, "knows %s", n.Name)
			}
		}
		return true
	})
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		op := strings.TrimSuffix(strings.TrimSuffix(sel.Sel.Name, "Input"), "Output")
		if k, ok := guardedOperations[op]; ok && !may(k) {
			fault(sel, "uses %s, one of %s", sel.Sel.Name, k)
		}
		return true
	})
	return out
}

// TestWallsHold: walls that see nothing are none.
func TestWallsHold(t *testing.T) {
	for name, tc := range map[string]struct {
		file string // whose walls
		code string // after "package dynasession"
		want string
	}{
		"net/http":       {"session.go", `import "net/http"; var _ http.Handler`, "imports net/http"},
		"renamed import": {"session.go", `import web "net/http"; var _ web.Handler`, "imports net/http"},
		"AWS":            {"middleware.go", `import "github.com/aws/aws-sdk-go-v2/service/dynamodb"; var _ dynamodb.Client`, "may not know DynamoDB's client"},
		"AWS of no wall": {"dynamo.go", `import "github.com/aws/aws-sdk-go-v2/service/sts"; var _ sts.Client`, "another module"},
		"other module":   {"codec.go", `import "example.com/json"; var _ = json.X`, "another module"},
		"sub-package":    {"store.go", `import "github.com/dynasession/dynasession/dynamotest"; var _ = dynamotest.Start`, "imports no sub-package"},
		"dot import":     {"id.go", `import . "strings"; var _ = Cut`, "as ."},
		"clock":          {"record.go", `import "time"; var _ = time.Now()`, "uses time.Now"},
		"clock's value":  {"changes.go", `import "time"; var now = time.Now`, "uses time.Now"},
		"renamed clock":  {"values.go", `import t "time"; var _ = t.Since(t.Time{})`, "uses time.Since"},
		"timer":          {"session.go", `import "time"; var _ = time.After(1)`, "uses time.After"},
		"deadline":       {"session.go", `import "context"; func f(c context.Context) { context.WithTimeout(c, 1) }`, "uses context.WithTimeout"},
		"background":     {"store.go", `import "context"; var _ = context.Background()`, "context.Background"},
		"todo":           {"gc.go", `import "context"; var _ = context.TODO()`, "context.TODO"},
		"panic":          {"seal.go", `func f() { panic("no") }`, "calls panic"},
		"goroutine":      {"middleware.go", `func f() { go f() }`, "starts a goroutine"},
		"wait group":     {"user.go", `import "sync"; var _ sync.WaitGroup`, "starts goroutines"},
		"network":        {"config.go", `import "net/http"; var _, _ = http.Get("x")`, "uses http.Get"},
		"environment":    {"store.go", `import "os"; var _ = os.Getenv("X")`, "imports os"},
		"data operation": {"table.go", `func f(c interface{ GetItem() }) { c.GetItem() }`, "uses GetItem"},
		"its input":      {"store.go", `import "github.com/aws/aws-sdk-go-v2/service/dynamodb"; var _ dynamodb.PutItemInput`, "uses PutItemInput"},
		"table operation": {"dynamo.go", `import "github.com/aws/aws-sdk-go-v2/service/dynamodb"; var _ dynamodb.DescribeTableInput`,
			"uses DescribeTableInput"},
		"session in dynamo":  {"dynamo.go", `var _ *Session`, "knows Session"},
		"store in session":   {"session.go", `var _ *Store`, "knows Store"},
		"request in save":    {"save.go", `var _ *request`, "knows request"},
		"store in response":  {"response.go", `func f(w *response) { _ = w.request.Store }`, "knows Store"},
		"table in handler":   {"middleware.go", `func f(s *Store) { _ = s.table }`, "knows table"},
		"context in comment": {"store.go", "// context.Background() would be wrong, and panic(1) too.\nvar _ int", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, ok := walls[tc.file]
			require.True(t, ok)
			src := "package dynasession\n" + strings.Replace(tc.code, "; ", "\n", 1)
			found := breaches(t, tc.file, []byte(src), w)
			if tc.want == "" {
				assert.Empty(t, found)
				return
			}
			assert.Contains(t, strings.Join(found, "\n"), tc.want)
		})
	}
}
