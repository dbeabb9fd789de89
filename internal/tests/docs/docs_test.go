package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSecurityDocument: every test that SECURITY.md names is there.
func TestSecurityDocument(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	_, code := goSources(t)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)(?:/([^`]+))?`").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(named), 60)
	for _, name := range named {
		assert.Contains(t, code, "func "+name[1]+"(", name[0])
		if name[2] != "" {
			assert.Contains(t, code, `"`+name[2]+`"`, name[0])
		}
	}
}

// TestArchitectureDocument: docs/architecture.md names code and tests that are there.
func TestArchitectureDocument(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "| promise | code | tests |\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	code, tests := goSources(t)
	rows := strings.Split(table, "\n")[1:]
	require.Greater(t, len(rows), 10)
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		require.Len(t, cells, 3, row)
		for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
			if strings.HasSuffix(m[1], ".go") {
				assert.FileExists(t, m[1])
				continue
			}
			of, name, _ := strings.Cut(m[1], ".")
			method := regexp.MustCompile(`func \(\w* ?\*?` + of + `\) ` + name + `\(`)
			function := regexp.MustCompile(`package ` + of + `\n(?s:.*)func ` + name + `\(`)
			assert.True(t, method.MatchString(code) || function.MatchString(code), m[1])
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			assert.Contains(t, tests, "func "+m[1]+"(", row)
		}
	}
}

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

// TestSDKImports: a change of the SDK's API concerns two files of the root, and internal packages.
func TestSDKImports(t *testing.T) {
	may := []string{"client.go", "store.go"}
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

// TestREADMENamesTests checks that the tests in README.md's table of what the library works with, and in the documents of the
// adapters, exist.
func TestREADMENamesTests(t *testing.T) {
	_, tests := goSources(t)
	files, err := filepath.Glob("adapters/*/README.md")
	require.NoError(t, err)
	require.Len(t, files, 5)
	names := 0
	for _, name := range append(files, "README.md") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1) {
			assert.Contains(t, tests, "func "+m[1]+"(", name)
			names++
		}
	}
	assert.Greater(t, names, 15)
}

// goSources returns the text of all files of the module: the code, and the tests.
func goSources(t *testing.T) (code, tests string) {
	t.Helper()
	var c, s strings.Builder
	require.NoError(t, filepath.WalkDir(".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") {
			return err
		}
		source, err := os.ReadFile(name)
		if strings.HasSuffix(name, "_test.go") {
			s.Write(source)
		} else {
			c.Write(source)
		}
		return err
	}))
	return c.String(), s.String()
}
