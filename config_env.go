package dynasession

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// envPrefix begins the names of the environment variables.
const envPrefix = "DYNASESSION_"

// ConfigFromEnv returns a Config made of the DYNASESSION_* environment variables: see [Config] for their names. A variable
// that is unset or empty leaves its field zero. The error names every variable that does not parse, with its value and what
// is allowed, and every variable with the prefix that is not a setting, since a misspelt one would be ignored. [New] checks
// the ranges.
func ConfigFromEnv() (Config, error) {
	c, err := parseEnv()
	if err := errors.Join(unknownVariables(os.Environ()), err); err != nil {
		return Config{}, err
	}
	return c, nil
}

// unknownVariables returns an error for each variable that has the prefix and is not a setting.
func unknownVariables(environ []string) error {
	known := variables(reflect.TypeFor[Config](), envPrefix)
	var out []error
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		nearest := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
		out = append(out, fmt.Errorf("dynasession: %s is no setting: the nearest is %s", name, nearest))
	}
	slices.SortFunc(out, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(out...)
}

// variables returns the names of the environment variables for the fields of a struct.
func variables(t reflect.Type, prefix string) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		if p, ok := f.Tag.Lookup("envPrefix"); ok {
			names = append(names, variables(f.Type, prefix+p)...)
		}
		if name, ok := f.Tag.Lookup("env"); ok {
			names = append(names, prefix+name)
		}
	}
	return names
}

// distance returns the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func parseEnv() (Config, error) {
	var c Config
	err := env.ParseWithOptions(&c, env.Options{Prefix: envPrefix, FuncMap: map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[http.SameSite](): parseSameSite,
		reflect.TypeFor[[][]byte]():      parseKeys,
	}})
	if err == nil {
		return c, nil
	}
	all := env.AggregateError{}
	if !errors.As(err, &all) {
		return Config{}, fmt.Errorf("dynasession: environment: %w", err)
	}
	var out []error
	for _, err := range all.Errors {
		parse := env.ParseError{}
		if !errors.As(err, &parse) {
			out = append(out, fmt.Errorf("dynasession: environment: %w", err))
			continue
		}
		name, kind := envVariable(reflect.TypeFor[Config](), envPrefix, parse.Name)
		value := quote(os.Getenv(name))
		if kind == reflect.TypeFor[[][]byte]() {
			value = "set, but not shown" // it is a secret
		}
		out = append(out, fmt.Errorf("dynasession: %s is %s: must be %s", name, value, envAllowed[kind]))
	}
	return Config{}, errors.Join(out...)
}

// envVariable returns the variable, and the type, of a field that can fail to parse. The names of such fields are unique in
// Config and its parts.
func envVariable(t reflect.Type, prefix, field string) (name string, kind reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		if p, ok := f.Tag.Lookup("envPrefix"); ok {
			if name, kind := envVariable(f.Type, prefix+p, field); name != "" {
				return name, kind
			}
		}
		if f.Name == field && f.Type.Kind() != reflect.String {
			return prefix + f.Tag.Get("env"), f.Type
		}
	}
	return "", nil
}

var sameSites = map[string]http.SameSite{"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode}

var envAllowed = map[reflect.Type]string{
	reflect.TypeFor[time.Duration](): "a duration, such as 90s, 30m or 24h",
	reflect.TypeFor[time.Time]():     "a time as RFC 3339 has it, such as 2026-01-02T15:04:05Z",
	reflect.TypeFor[bool]():          "true or false",
	reflect.TypeFor[Concurrency]():   strings.Join(concurrencies, ", "),
	reflect.TypeFor[http.SameSite](): strings.Join(slices.Sorted(maps.Keys(sameSites)), ", "),
	reflect.TypeFor[[][]byte]():      "keys in base64, with commas between",
}

func parseSameSite(text string) (any, error) {
	if v, ok := sameSites[strings.ToLower(text)]; ok {
		return v, nil
	}
	return nil, errors.New("unknown")
}

func parseKeys(text string) (any, error) {
	var keys [][]byte
	for part := range strings.SplitSeq(text, ",") {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(part))
		if err != nil {
			return nil, errors.New("not base64")
		}
		keys = append(keys, key)
	}
	return keys, nil
}
