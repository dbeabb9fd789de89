package dynasession_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The compiler keeps the walls between packages. These tests keep what it cannot.

const ourModule = "github.com/dynasession/dynasession"

// sourceFiles parses the files below dir that are no tests, by their paths.
func sourceFiles(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		files[name], err = parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func importsOf(t *testing.T, file *ast.File) (paths []string) {
	t.Helper()
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		paths = append(paths, p)
	}
	return paths
}

// TestSDKImports: a change of the SDK's API concerns four files of the root and two internal packages.
func TestSDKImports(t *testing.T) {
	may := []string{"client.go", "dynamo.go", "store.go", "table.go", "transact.go", "ghost.go"}
	for _, name := range rootFiles(t, false) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, p := range importsOf(t, file) {
			if strings.HasPrefix(p, "github.com/aws/") {
				assert.Contains(t, may, name, "imports %s", p)
			}
		}
	}
}

// TestDynamotestStandsAlone: users test with it, and so does this package.
func TestDynamotestStandsAlone(t *testing.T) {
	for name, file := range sourceFiles(t, "dynamotest") {
		for _, p := range importsOf(t, file) {
			assert.False(t, strings.HasPrefix(p, ourModule), "%s imports %s", name, p)
		}
	}
}

// TestNoHiddenInputs: the library gets its context and clock from its caller, and does not panic.
func TestNoHiddenInputs(t *testing.T) {
	clocks := map[string][]string{"time": {"Now", "Since", "Until"}, "context": {"Background", "TODO"}}
	check := func(name string, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				f, ok := n.Fun.(*ast.Ident)
				assert.False(t, ok && slices.Contains([]string{"panic", "print", "println"}, f.Name), "%s calls %v", name, n.Fun)
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && name != "store.go" { // New sets the clock of a Store
					assert.NotContains(t, clocks[x.Name], n.Sel.Name, name)
				}
			}
			return true
		})
	}
	for _, name := range rootFiles(t, false) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		check(name, file)
	}
}
