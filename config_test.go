package dynasession

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynasession/dynasession/dynamotest"

	"github.com/dynasession/dynasession/internal/protocol"
)

func TestConfigDefaults(t *testing.T) {
	c, err := Config{}.complete()
	require.NoError(t, err)
	assert.Equal(t, Config{
		Table:          "sessions",
		Name:           "session",
		IdleTimeout:    time.Hour,
		Lifetime:       24 * time.Hour,
		TouchAfter:     6 * time.Minute,
		Concurrency:    Merge,
		LockWait:       10 * time.Second,
		LockLease:      30 * time.Second,
		EncryptionKeys: [][]byte{},
		Cookie:         CookieConfig{Name: "__Host-Http-session", Path: "/", SameSite: http.SameSiteLaxMode},
		Codec:          JSON{},
		Attributes:     Attributes{ID: "id", Expires: "expires", Data: "data", User: "user"},
		Timeout:        5 * time.Second,
		Logger:         slog.Default(),
	}, c)

	t.Run("times that follow others", func(t *testing.T) {
		for _, tc := range []struct{ in, want Config }{
			{Config{Lifetime: 30 * time.Minute}, Config{Lifetime: 30 * time.Minute, IdleTimeout: 30 * time.Minute, TouchAfter: 3 * time.Minute}},
			{Config{Lifetime: 48 * time.Hour}, Config{Lifetime: 48 * time.Hour, IdleTimeout: time.Hour, TouchAfter: 6 * time.Minute}},
			{Config{IdleTimeout: 20 * time.Hour}, Config{Lifetime: 24 * time.Hour, IdleTimeout: 20 * time.Hour, TouchAfter: 2 * time.Hour}},
			{Config{IdleTimeout: time.Second}, Config{Lifetime: 24 * time.Hour, IdleTimeout: time.Second, TouchAfter: 100 * time.Millisecond}},
			{Config{TouchAfter: time.Minute}, Config{Lifetime: 24 * time.Hour, IdleTimeout: time.Hour, TouchAfter: time.Minute}},
		} {
			got, err := tc.in.complete()
			require.NoError(t, err)
			got = Config{Lifetime: got.Lifetime, IdleTimeout: got.IdleTimeout, TouchAfter: got.TouchAfter}
			assert.Equal(t, tc.want, got)
		}
	})

	t.Run("cookie's name", func(t *testing.T) {
		for want, c := range map[string]Config{
			"__Host-Http-session": {Cookie: CookieConfig{Path: "/"}},
			"__Host-Http-app":     {Name: "app"},
			"__Secure-app":        {Name: "app", Cookie: CookieConfig{Domain: "example.com"}},
			"__Secure-admin":      {Name: "admin", Cookie: CookieConfig{Path: "/admin"}},
			"app":                 {Name: "app", Cookie: CookieConfig{Insecure: true}},
			"plain":               {Cookie: CookieConfig{Insecure: true, Name: "plain", Domain: "example.com"}},
			"PHPSESSID":           {Cookie: CookieConfig{Name: "PHPSESSID"}},
		} {
			got, err := c.complete()
			require.NoError(t, err)
			assert.Equal(t, want, got.Cookie.Name)
		}
	})

	t.Run("what is set stays", func(t *testing.T) {
		in := Config{
			Table: "arn:aws:dynamodb:eu-central-1:123456789012:table/sessions", Name: "a.b-c_D9", IdleTimeout: 2 * time.Hour,
			Lifetime: 3 * time.Hour, TouchAfter: time.Hour, NotBefore: time.Unix(1e9, 0), Concurrency: LastWriteWins,
			LockWait: time.Nanosecond, LockLease: time.Millisecond, EventualReads: true, InsecurePlainIDs: true,
			EncryptionKeys: [][]byte{bytes.Repeat([]byte{7}, 32)}, NoCompression: true, BinaryData: true, UserIndex: "by-user",
			Cookie:     CookieConfig{Name: "c", Domain: "example.com", Path: "/x", SameSite: http.SameSiteStrictMode, Partitioned: true, Persist: true},
			Codec:      struct{ JSON }{},
			Attributes: Attributes{ID: "i", Expires: "e", Data: "d", User: "u"}, Timeout: time.Nanosecond,
			Logger: slog.New(slog.DiscardHandler),
		}
		got, err := in.complete()
		require.NoError(t, err)
		assert.Equal(t, in, got)
	})
}

// TestREADMESettings: the table has each setting, with its variable and its default, and no others.
func TestREADMESettings(t *testing.T) {
	c, err := Config{}.complete()
	require.NoError(t, err)
	want := map[string][2]string{}
	addSettings(want, "", "", reflect.ValueOf(c))

	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(text), "\n## Configuration\n")
	section, _, _ = strings.Cut(section, "\n## ")
	got := map[string][2]string{}
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(line, "|")
		require.Len(t, cells, 6, line)
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		// Several fields share a row, with commas between, and what they have in common is written once.
		fields := strings.Split(cells[1], ", ")
		variables, defaults := strings.Split(cells[2], ", "), []string{cells[3]}
		if len(fields) > 1 {
			defaults = strings.Split(cells[3], ", ")
		}
		require.Len(t, variables, len(fields), line)
		require.Len(t, defaults, len(fields), line)
		group, _, _ := strings.Cut(strings.Trim(fields[0], "`"), ".")
		for i, field := range fields {
			field, variable := strings.Trim(field, "`"), strings.Trim(variables[i], "`")
			if strings.HasPrefix(field, ".") {
				field = group + field
			}
			if rest, ok := strings.CutPrefix(variable, "…"); ok {
				variable = strings.ToUpper(group) + rest
			}
			got[field] = [2]string{variable, defaults[i]}
		}
	}
	assert.Equal(t, want, got)
}

// addSettings adds the fields of a struct: variables without their prefix, and defaults in README's words.
func addSettings(all map[string][2]string, group, prefix string, v reflect.Value) {
	inWords := map[string]string{
		"TouchAfter": "`IdleTimeout` / 10", "Cookie.Name": "`__Host-Http-` and `Name`", "Cookie.Domain": "this host only",
		"Codec": "`JSON{}`", "ErrorHandler": "see Errors", "Logger": "`slog.Default()`",
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, value := group+f.Name, v.FieldByIndex(f.Index)
		if part, ok := f.Tag.Lookup("envPrefix"); ok {
			addSettings(all, name+".", prefix+part, value)
			continue
		}
		variable := ""
		if tag := f.Tag.Get("env"); tag != "" {
			variable = prefix + tag
		}
		words := inWords[name]
		if words == "" {
			words = settingWords(value)
		}
		if name == "IdleTimeout" {
			words += ", or `Lifetime` if shorter"
		}
		all[name] = [2]string{variable, words}
	}
}

func settingWords(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		if value >= time.Hour {
			return fmt.Sprintf("%v h", value.Hours())
		}
		return fmt.Sprintf("%v s", value.Seconds())
	case bool:
		return fmt.Sprint(value)
	case Concurrency:
		return "`" + value.String() + "`"
	case http.SameSite:
		for name, site := range sameSites {
			if site == value {
				return "`" + name + "`"
			}
		}
	case string:
		if value != "" {
			return "`" + value + "`"
		}
	}
	if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
		return "none"
	}
	return v.String()
}

func TestConfigFaults(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 32)
	for name, tc := range map[string]struct {
		cfg   Config
		wants []string // field, value, what is allowed
	}{
		"table: short":          {Config{Table: "ab"}, []string{"Config.Table ", `"ab"`, "3 to 255"}},
		"table: long":           {Config{Table: strings.Repeat("t", 256)}, []string{"Config.Table ", "tttt", "3 to 255"}},
		"table: letters":        {Config{Table: "my sessions"}, []string{"Config.Table ", `"my sessions"`, `letters, digits and "._-"`}},
		"table: ARN, anything":  {Config{Table: "arn:anything"}, []string{"Config.Table ", `"arn:anything"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, index":     {Config{Table: "arn:aws:dynamodb:eu-central-1:123456789012:table/sessions/index/by-user"}, []string{"Config.Table ", `"arn:aws:dynamodb:eu-central-1:123456789012:table/sessions/index/by-user"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, service":   {Config{Table: "arn:aws:sqs:eu-central-1:123456789012:table/sessions"}, []string{"Config.Table ", `"arn:aws:sqs:eu-central-1:123456789012:table/sessions"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, account":   {Config{Table: "arn:aws:dynamodb:eu-central-1:12345:table/sessions"}, []string{"Config.Table ", `"arn:aws:dynamodb:eu-central-1:12345:table/sessions"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, no region": {Config{Table: "arn:aws:dynamodb::123456789012:table/sessions"}, []string{"Config.Table ", `"arn:aws:dynamodb::123456789012:table/sessions"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, letters":   {Config{Table: "arn:aws:dynamodb:eu-central-1:123456789012:table/sessions "}, []string{"Config.Table ", `"arn:aws:dynamodb:eu-central-1:123456789012:table/sessions "`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, short":     {Config{Table: "arn:aws:dynamodb:eu-central-1:123456789012:table/ab"}, []string{"Config.Table ", `"arn:aws:dynamodb:eu-central-1:123456789012:table/ab"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, stream":    {Config{Table: "arn:aws:dynamodb:eu-central-1:123456789012:table/sessions/stream/2026-01-01T00:00:00.000"}, []string{"Config.Table ", `"arn:aws:dynamodb:eu-central-1:123456789012:table/sessions/stream/2026-01-01T00:00:00.000"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"table: ARN, resource":  {Config{Table: "arn:aws:dynamodb:eu-central-1:123456789012:table:sessions"}, []string{"Config.Table ", `"arn:aws:dynamodb:eu-central-1:123456789012:table:sessions"`, "arn:aws:dynamodb:REGION:ACCOUNT:table/NAME"}},
		"name: letters":         {Config{Name: "a b"}, []string{"Config.Name ", `"a b"`, "letters, digits"}},
		"name: umlaut":          {Config{Name: "säß"}, []string{"Config.Name ", "letters, digits"}},
		"name: underscores":     {Config{Name: "___"}, []string{"Config.Name ", `"___"`, "at least one of them a letter or digit"}},
		"name: long":            {Config{Name: strings.Repeat("n", 129)}, []string{"Config.Name ", "nnn", "up to 128"}},
		"index":                 {Config{UserIndex: "x"}, []string{"Config.UserIndex ", `"x"`, "3 to 255"}},
		"lifetime: negative":    {Config{Lifetime: -time.Hour}, []string{"Config.Lifetime ", "-1h0m0s", "from 1s to 100 years"}},
		"lifetime: ms":          {Config{Lifetime: 999 * time.Millisecond}, []string{"Config.Lifetime ", "999ms", "from 1s"}},
		"lifetime: long":        {Config{Lifetime: 101 * 365 * 24 * time.Hour}, []string{"Config.Lifetime ", "884760h", "100 years"}},
		"idle: negative":        {Config{IdleTimeout: -1}, []string{"Config.IdleTimeout ", "-1ns", "at least 1s"}},
		"idle: ms":              {Config{IdleTimeout: 999 * time.Millisecond}, []string{"Config.IdleTimeout ", "999ms", "at least 1s"}},
		"idle: > lifetime":      {Config{IdleTimeout: 25 * time.Hour}, []string{"Config.IdleTimeout ", "25h0m0s", "at most Lifetime, which is 24h0m0s"}},
		"touch: negative":       {Config{TouchAfter: -time.Second}, []string{"Config.TouchAfter ", "-1s", "not negative"}},
		"touch: = idle":         {Config{TouchAfter: time.Hour}, []string{"Config.TouchAfter ", "1h0m0s", "less than IdleTimeout, which is 1h0m0s"}},
		"lock wait":             {Config{LockWait: -time.Second}, []string{"Config.LockWait ", "-1s", "not be negative", "10s"}},
		"lock lease":            {Config{LockLease: time.Microsecond}, []string{"Config.LockLease ", "1µs", "at least 1ms", "30s"}},
		"timeout":               {Config{Timeout: -time.Second}, []string{"Config.Timeout ", "-1s", "not be negative", "5s"}},
		"concurrency":           {Config{Concurrency: 3}, []string{"Config.Concurrency ", " 3:", "Merge, Lock or LastWriteWins"}},
		"concurrency: minus":    {Config{Concurrency: -1}, []string{"Config.Concurrency ", " -1:", "Merge, Lock or LastWriteWins"}},
		"eventual, foreign":     {Config{EventualReads: true, ForeignWriters: true}, []string{"Config.EventualReads ", "true", "ForeignWriters"}},
		"key: short":            {Config{EncryptionKeys: [][]byte{key, key[:31]}}, []string{"Config.EncryptionKeys[1] ", "31 bytes", "32"}},
		"key: long":             {Config{EncryptionKeys: [][]byte{append(key[:32:32], 1)}}, []string{"Config.EncryptionKeys[0] ", "33 bytes", "32"}},
		"key: nil":              {Config{EncryptionKeys: [][]byte{nil}}, []string{"Config.EncryptionKeys[0] ", "0 bytes", "32"}},
		"attribute: long":       {Config{Attributes: Attributes{Data: strings.Repeat("d", 256)}}, []string{"Config.Attributes.Data ", "ddd", "255 bytes"}},
		"attribute: ours":       {Config{Attributes: Attributes{ID: "rev"}}, []string{"Config.Attributes.ID ", `"rev"`, "used by the protocol"}},
		"attribute: limit":      {Config{Attributes: Attributes{User: "limit"}}, []string{"Config.Attributes.User ", `"limit"`, "used by the protocol"}},
		"attribute: twice":      {Config{Attributes: Attributes{Data: "x", User: "x"}}, []string{"Config.Attributes.User ", `"x"`, "used by Attributes.Data"}},
		"attribute: default":    {Config{Attributes: Attributes{User: "id"}}, []string{"Config.Attributes.User ", `"id"`, "used by Attributes.ID"}},

		"cookie: space":       {Config{Cookie: CookieConfig{Name: "a b"}}, []string{"Config.Cookie.Name ", `"a b"`, "token"}},
		"cookie: =":           {Config{Cookie: CookieConfig{Name: "a=b"}}, []string{"Config.Cookie.Name ", `"a=b"`, "token"}},
		"cookie: long":        {Config{Cookie: CookieConfig{Name: strings.Repeat("c", 257)}}, []string{"Config.Cookie.Name ", "ccc", "up to 256"}},
		"host, domain":        {Config{Cookie: CookieConfig{Name: "__Host-a", Domain: "example.com"}}, []string{"Config.Cookie.Name ", `"__Host-a"`, "cannot go with", "Domain"}},
		"host, path":          {Config{Cookie: CookieConfig{Name: "__Host-a", Path: "/a"}}, []string{"Config.Cookie.Name ", `"__Host-a"`, "Path other than /"}},
		"host, insecure":      {Config{Cookie: CookieConfig{Name: "__Host-a", Insecure: true}}, []string{"Config.Cookie.Name ", `"__Host-a"`, "Insecure"}},
		"HOST, insecure":      {Config{Cookie: CookieConfig{Name: "__HOST-a", Insecure: true}}, []string{"Config.Cookie.Name ", `"__HOST-a"`, "Insecure"}},
		"http, insecure":      {Config{Cookie: CookieConfig{Name: "__Http-a", Insecure: true}}, []string{"Config.Cookie.Name ", `"__Http-a"`, "Insecure"}},
		"secure, insecure":    {Config{Cookie: CookieConfig{Name: "__Secure-a", Insecure: true}}, []string{"Config.Cookie.Name ", `"__Secure-a"`, "Insecure"}},
		"sEcure, insecure":    {Config{Cookie: CookieConfig{Name: "__sEcure-a", Insecure: true}}, []string{"Config.Cookie.Name ", `"__sEcure-a"`, "Insecure"}},
		"domain: url":         {Config{Cookie: CookieConfig{Domain: "https://example.com"}}, []string{"Config.Cookie.Domain ", `"https://example.com"`, "host name"}},
		"domain: port":        {Config{Cookie: CookieConfig{Domain: "example.com:80"}}, []string{"Config.Cookie.Domain ", `"example.com:80"`, "host name"}},
		"domain: dots":        {Config{Cookie: CookieConfig{Domain: "a..b"}}, []string{"Config.Cookie.Domain ", `"a..b"`, "host name"}},
		"domain: hyphen":      {Config{Cookie: CookieConfig{Domain: "-a.b"}}, []string{"Config.Cookie.Domain ", `"-a.b"`, "host name"}},
		"domain: dot":         {Config{Cookie: CookieConfig{Domain: "."}}, []string{"Config.Cookie.Domain ", `"."`, "host name"}},
		"domain: long":        {Config{Cookie: CookieConfig{Domain: strings.Repeat("a.", 127) + "b"}}, []string{"Config.Cookie.Domain ", "a.a.a", "host name"}},
		"domain: label":       {Config{Cookie: CookieConfig{Domain: strings.Repeat("a", 64) + ".com"}}, []string{"Config.Cookie.Domain ", "aaa", "host name"}},
		"path: relative":      {Config{Cookie: CookieConfig{Path: "admin"}}, []string{"Config.Cookie.Path ", `"admin"`, "begin with /"}},
		"path: semicolon":     {Config{Cookie: CookieConfig{Path: "/a; Domain=b"}}, []string{"Config.Cookie.Path ", `"/a; Domain=b"`, "no ;"}},
		"path: newline":       {Config{Cookie: CookieConfig{Path: "/a\nb"}}, []string{"Config.Cookie.Path ", `"/a\nb"`, "control characters"}},
		"path: umlaut":        {Config{Cookie: CookieConfig{Path: "/ä"}}, []string{"Config.Cookie.Path ", `"/ä"`}},
		"same site":           {Config{Cookie: CookieConfig{SameSite: 9}}, []string{"Config.Cookie.SameSite ", " 9:", "SameSiteStrictMode"}},
		"same site: default":  {Config{Cookie: CookieConfig{SameSite: http.SameSiteDefaultMode}}, []string{"Config.Cookie.SameSite ", " 1:", "0 for Lax"}},
		"none, insecure":      {Config{Cookie: CookieConfig{SameSite: http.SameSiteNoneMode, Insecure: true}}, []string{"Config.Cookie.SameSite ", "None", "Insecure"}},
		"partition, insecure": {Config{Cookie: CookieConfig{Partitioned: true, Insecure: true}}, []string{"Config.Cookie.Partitioned ", "true", "Insecure"}},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := New(dynamotest.Start(t), tc.cfg)
			require.Error(t, err)
			assert.Nil(t, store)
			text, _, _ := strings.Cut(err.Error(), "\n") // what follows from it may follow
			assert.True(t, strings.HasPrefix(text, "dynasession: Config."), text)
			for _, want := range tc.wants {
				assert.Contains(t, text, want)
			}
		})
	}
}

func TestConfigBounds(t *testing.T) {
	for name, cfg := range map[string]Config{
		"shortest":       {Table: "abc", Name: "n", UserIndex: "abc", Lifetime: time.Second, LockWait: 1, LockLease: time.Millisecond, Timeout: 1, TouchAfter: 1},
		"longest":        {Table: strings.Repeat("t", 255), Name: strings.Repeat("n", 128), UserIndex: strings.Repeat("i", 255), Lifetime: 100 * 365 * 24 * time.Hour},
		"ARN":            {Table: "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/" + strings.Repeat("t", 255)},
		"ARN, local":     {Table: "arn:aws:dynamodb:ddblocal:000000000000:table/a.b-c_D"},
		"idle = all":     {IdleTimeout: 24 * time.Hour},
		"touch":          {TouchAfter: time.Hour - 1},
		"attributes":     {Attributes: Attributes{ID: strings.Repeat("a", 255), Expires: "e", Data: "d d", User: "ü"}},
		"attribute swap": {Attributes: Attributes{ID: "data", Expires: "user", Data: "id", User: "expires"}},
		"cookie":         {Cookie: CookieConfig{Name: strings.Repeat("c", 256), Path: "/" + strings.Repeat("p", 1023)}},
		"token":          {Cookie: CookieConfig{Name: "!#$%&'*+-.^_`|~09azAZ"}},
		"domain":         {Cookie: CookieConfig{Domain: ".a-1.example.com"}},
		"none":           {Cookie: CookieConfig{SameSite: http.SameSiteNoneMode, Partitioned: true}},
		"host":           {Cookie: CookieConfig{Name: "__Host-x", Path: "/", SameSite: http.SameSiteStrictMode}},
		"secure":         {Cookie: CookieConfig{Name: "__Secure-x", Domain: "example.com", Path: "/a b"}},
		"lock, eventual": {Concurrency: Lock, EventualReads: true},
		"keys":           {EncryptionKeys: [][]byte{make([]byte, 32), make([]byte, 32)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(dynamotest.Start(t), cfg)
			assert.NoError(t, err)
		})
	}
}

func TestConfigTellsAllFaults(t *testing.T) {
	_, err := New(nil, Config{
		Table: "x", Lifetime: -1, LockWait: -1, Timeout: -1, EncryptionKeys: [][]byte{nil, make([]byte, 32), {1}},
		Cookie: CookieConfig{Path: "x", SameSite: 7},
	})
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	for _, want := range []string{
		"New: the client is nil", "Config.Table", "Config.Lifetime", "Config.LockWait", "Config.Timeout",
		"Config.EncryptionKeys[0]", "Config.EncryptionKeys[2]", "Config.Cookie.Path", "Config.Cookie.SameSite",
	} {
		found := 0
		for _, line := range lines {
			if strings.HasPrefix(line, "dynasession: "+want) {
				found++
			}
		}
		assert.Equal(t, 1, found, "%s in:\n%v", want, err)
	}
	assert.NotContains(t, err.Error(), "EncryptionKeys[1]")
}

// envFields are the environment's variables: their names are fixed, as those of the fields are.
var envFields = map[string]struct {
	text  string
	field string
	want  any
}{
	"DYNASESSION_TABLE":              {"carts", "Table", "carts"},
	"DYNASESSION_NAME":               {"shop", "Name", "shop"},
	"DYNASESSION_IDLE_TIMEOUT":       {"30m", "IdleTimeout", 30 * time.Minute},
	"DYNASESSION_LIFETIME":           {"8h", "Lifetime", 8 * time.Hour},
	"DYNASESSION_TOUCH_AFTER":        {"90s", "TouchAfter", 90 * time.Second},
	"DYNASESSION_NOT_BEFORE":         {"2026-01-02T15:04:05Z", "NotBefore", time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)},
	"DYNASESSION_CONCURRENCY":        {"last-write-wins", "Concurrency", LastWriteWins},
	"DYNASESSION_LOCK_WAIT":          {"1s", "LockWait", time.Second},
	"DYNASESSION_LOCK_LEASE":         {"2s", "LockLease", 2 * time.Second},
	"DYNASESSION_EVENTUAL_READS":     {"true", "EventualReads", true},
	"DYNASESSION_INSECURE_PLAIN_IDS": {"true", "InsecurePlainIDs", true},
	"DYNASESSION_ENCRYPTION_KEYS": {base64.StdEncoding.EncodeToString(envKey1) + ", " + base64.StdEncoding.EncodeToString(envKey2),
		"EncryptionKeys", [][]byte{envKey1, envKey2}},
	"DYNASESSION_NO_COMPRESSION":     {"true", "NoCompression", true},
	"DYNASESSION_BINARY_DATA":        {"true", "BinaryData", true},
	"DYNASESSION_FOREIGN_WRITERS":    {"true", "ForeignWriters", true},
	"DYNASESSION_USER_INDEX":         {"by-user", "UserIndex", "by-user"},
	"DYNASESSION_DEVICE_BOUND":       {"10m", "DeviceBound", 10 * time.Minute},
	"DYNASESSION_TIMEOUT":            {"3s", "Timeout", 3 * time.Second},
	"DYNASESSION_COOKIE_NAME":        {"sid", "Cookie.Name", "sid"},
	"DYNASESSION_COOKIE_DOMAIN":      {"example.com", "Cookie.Domain", "example.com"},
	"DYNASESSION_COOKIE_PATH":        {"/app", "Cookie.Path", "/app"},
	"DYNASESSION_COOKIE_SAME_SITE":   {"Strict", "Cookie.SameSite", http.SameSiteStrictMode},
	"DYNASESSION_COOKIE_PARTITIONED": {"true", "Cookie.Partitioned", true},
	"DYNASESSION_COOKIE_PERSIST":     {"true", "Cookie.Persist", true},
	"DYNASESSION_COOKIE_INSECURE":    {"true", "Cookie.Insecure", true},
	"DYNASESSION_ATTRIBUTES_ID":      {"pk", "Attributes.ID", "pk"},
	"DYNASESSION_ATTRIBUTES_EXPIRES": {"ttl", "Attributes.Expires", "ttl"},
	"DYNASESSION_ATTRIBUTES_DATA":    {"body", "Attributes.Data", "body"},
	"DYNASESSION_ATTRIBUTES_USER":    {"owner", "Attributes.User", "owner"},
}

var (
	envKey1 = bytes.Repeat([]byte("Aa1?"), 8)
	envKey2 = bytes.Repeat([]byte("Zz9!"), 8)
)

// notFromEnv are the fields that no text can set.
var notFromEnv = map[string]bool{"Codec": true, "ErrorHandler": true, "Logger": true, "Before": true, "Observer": true}

// leaves returns the fields of Config and of its parts, as Cookie.Name, by reflection: a new
// field cannot be forgotten.
func leaves(v reflect.Value, prefix string) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for _, f := range reflect.VisibleFields(v.Type()) {
		sub := v.FieldByIndex(f.Index)
		if _, ok := f.Tag.Lookup("envPrefix"); ok {
			maps.Copy(out, leaves(sub, prefix+f.Name+"."))
			continue
		}
		out[prefix+f.Name] = sub
	}
	return out
}

// clearEnv unsets what the test's own environment may have set.
func clearEnv(t *testing.T) {
	t.Helper()
	for name := range envFields {
		t.Setenv(name, "")
	}
}

func TestConfigFromEnv(t *testing.T) {
	clearEnv(t)
	c, err := ConfigFromEnv()
	require.NoError(t, err)
	assert.Equal(t, Config{}, c, "what is unset or empty is zero")

	byField := map[string]string{}
	for name, f := range envFields {
		t.Setenv(name, f.text)
		byField[f.field] = name
	}
	c, err = ConfigFromEnv()
	require.NoError(t, err)
	for field, v := range leaves(reflect.ValueOf(c), "") {
		name, ok := byField[field]
		if !ok {
			assert.True(t, notFromEnv[field], "no variable sets %s", field)
			continue
		}
		assert.Equal(t, envFields[name].want, v.Interface(), name)
		assert.False(t, v.IsZero(), "%s is tested with the zero value", name)
		delete(byField, field)
	}
	assert.Empty(t, byField, "there are no such fields")
}

func TestConfigFromEnvFaults(t *testing.T) {
	allowed := map[reflect.Type]string{
		reflect.TypeFor[time.Duration](): "such as 90s",
		reflect.TypeFor[time.Time]():     "RFC 3339",
		reflect.TypeFor[bool]():          "true or false",
		reflect.TypeFor[Concurrency]():   "merge, lock, last-write-wins",
		reflect.TypeFor[http.SameSite](): "lax, none, strict",
		reflect.TypeFor[[][]byte]():      "base64",
	}
	const wrong = "yesterday;7"
	faulty := map[string]string{}
	for name, f := range envFields {
		typ := reflect.TypeOf(f.want)
		if typ.Kind() == reflect.String {
			continue // every text is one; New checks it
		}
		require.NotEmpty(t, allowed[typ], name)
		faulty[name] = allowed[typ]
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv(name, wrong)
			c, err := ConfigFromEnv()
			require.Error(t, err)
			assert.Equal(t, Config{}, c)
			text := err.Error()
			assert.NotContains(t, text, "\n")
			assert.True(t, strings.HasPrefix(text, "dynasession: "), text)
			assert.Contains(t, text, " "+name+" ")
			assert.Contains(t, text, allowed[typ])
			if name == "DYNASESSION_ENCRYPTION_KEYS" {
				assert.NotContains(t, text, wrong)
			} else {
				assert.Contains(t, text, `"`+wrong+`"`)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		clearEnv(t)
		for name := range faulty {
			t.Setenv(name, wrong)
		}
		_, err := ConfigFromEnv()
		require.Error(t, err)
		assert.Len(t, strings.Split(err.Error(), "\n"), len(faulty))
		for name := range faulty {
			assert.Contains(t, err.Error(), name)
		}
	})
}

func TestConcurrencyText(t *testing.T) {
	for c, want := range map[Concurrency]string{Merge: "merge", Lock: "lock", LastWriteWins: "last-write-wins", 7: "Concurrency(7)", -1: "Concurrency(-1)"} {
		assert.Equal(t, want, c.String())
		text, err := c.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
	for text, want := range map[string]Concurrency{
		"merge": Merge, "Lock": Lock, "LOCK": Lock, "LastWriteWins": LastWriteWins, "last_write_wins": LastWriteWins, "Last-Write-Wins": LastWriteWins,
	} {
		var c Concurrency = -1
		require.NoError(t, c.UnmarshalText([]byte(text)))
		assert.Equal(t, want, c, text)
	}
	for _, text := range []string{"", "none", "merge ", "0", "Concurrency(7)"} {
		c := Lock
		err := c.UnmarshalText([]byte(text))
		require.Error(t, err)
		assert.Equal(t, Lock, c, "left as it was")
		assert.Contains(t, err.Error(), fmt.Sprintf("%q", text))
		assert.Contains(t, err.Error(), "merge, lock, last-write-wins")
	}
}

// secretForms are the ways in which a key may show.
func secretForms(key []byte) []string {
	numbers := strings.Trim(fmt.Sprintf("%d", key[:4]), "[]")
	return []string{
		string(key[:8]), hex.EncodeToString(key[:4]), strings.ToUpper(hex.EncodeToString(key[:4])), base64.StdEncoding.EncodeToString(key)[:8],
		numbers, strings.ReplaceAll(numbers, " ", ","), strings.ReplaceAll(numbers, " ", ", "),
		fmt.Sprintf("%#x, %#x", key[0], key[1]),
	}
}

func assertNoSecret(t *testing.T, text string, keys ...[]byte) {
	t.Helper()
	for _, key := range keys {
		for _, form := range secretForms(key) {
			assert.NotContains(t, text, form)
		}
	}
}

func TestConfigPrintsNoKeys(t *testing.T) {
	cfg := Config{
		Table: "carts", IdleTimeout: 90 * time.Second, EncryptionKeys: [][]byte{envKey1, envKey2}, Concurrency: Lock,
		Codec: JSON{}, Logger: slog.New(slog.DiscardHandler),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {},
	}
	completed, err := cfg.complete()
	require.NoError(t, err)
	type holder struct {
		Name string
		Cfg  Config
		Ptr  *Config
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%c", "%U", "%10.3v", "%!"} {
		for _, v := range []any{cfg, &cfg, completed, []Config{cfg}, map[string]Config{"a": cfg}, holder{"h", cfg, &cfg}, &holder{"h", cfg, &cfg}, any(cfg)} {
			assertNoSecret(t, fmt.Sprintf(verb, v), envKey1, envKey2)
		}
	}
	text := cfg.String()
	for _, want := range []string{"Table: carts", "IdleTimeout: 1m30s", "Concurrency: lock", "EncryptionKeys: [2 keys]", "Codec: set", "Logger: set", "ErrorHandler: set"} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "Observer", "what is not set is left out")
	for _, verb := range []string{"%v", "%#v", "%s", "%d"} {
		assert.Equal(t, text, fmt.Sprintf(verb, cfg))
	}
	assert.Equal(t, text, cfg.GoString())

	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("start", "cfg", cfg, "ptr", &cfg, "in", holder{"h", cfg, &cfg}, "list", []Config{cfg})
			assertNoSecret(t, b.String(), envKey1, envKey2)
			assert.Contains(t, b.String(), "carts")
			assert.Contains(t, b.String(), "[2 keys]")
		})
	}
	data, err := json.Marshal([]any{cfg})
	if err == nil {
		assertNoSecret(t, string(data), envKey1, envKey2)
	}
}

func TestConfigErrorsTellNoKeys(t *testing.T) {
	t.Run("wrong length", func(t *testing.T) {
		clearEnv(t)
		t.Setenv("DYNASESSION_ENCRYPTION_KEYS", base64.StdEncoding.EncodeToString(envKey1[:31])+","+base64.StdEncoding.EncodeToString(envKey2))
		cfg, err := ConfigFromEnv()
		require.NoError(t, err)
		_, err = New(dynamotest.Start(t), cfg)
		require.ErrorContains(t, err, "EncryptionKeys[0]")
		assertNoSecret(t, err.Error(), envKey1, envKey2)
	})
	for name, value := range map[string]string{
		"not base64":        "!" + base64.StdEncoding.EncodeToString(envKey1),
		"hexadecimal":       hex.EncodeToString(envKey1) + "x",
		"one bad, one good": base64.StdEncoding.EncodeToString(envKey1) + ",%" + base64.StdEncoding.EncodeToString(envKey2),
	} {
		t.Run(name, func(t *testing.T) {
			clearEnv(t)
			t.Setenv("DYNASESSION_ENCRYPTION_KEYS", value)
			t.Setenv("DYNASESSION_TIMEOUT", "soon")
			_, err := ConfigFromEnv()
			require.ErrorContains(t, err, "DYNASESSION_ENCRYPTION_KEYS")
			assertNoSecret(t, err.Error(), envKey1, envKey2)
			assert.NotContains(t, err.Error(), value)
		})
	}
}

func TestNewCopiesConfig(t *testing.T) {
	first := bytes.Clone(envKey1)
	cfg := Config{EncryptionKeys: [][]byte{first}}
	store, err := New(dynamotest.Start(t), cfg)
	require.NoError(t, err)
	sealed, err := store.sealer.Seal([]byte("hello"), "k", 0)
	require.NoError(t, err)

	first[0] ^= 0xff
	cfg.EncryptionKeys[0] = bytes.Clone(envKey2)
	cfg.Table = "other"

	plain, err := store.sealer.Open(sealed, "k")
	require.NoError(t, err)
	assert.Equal(t, "hello", string(plain))
	assert.Contains(t, fmt.Sprint(store), "sessions")
}

func TestNewIsOffline(t *testing.T) {
	server := dynamotest.NewServer()
	defer server.Close()
	_, err := New(server.Client(), Config{})
	require.NoError(t, err)
	assert.Empty(t, server.Calls())
}

func TestFromEnv(t *testing.T) {
	server := dynamotest.NewServer()
	t.Cleanup(server.Close)
	clearEnv(t)
	nowhere := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_DYNAMODB": server.URL(), "AWS_REGION": "eu-central-1", "AWS_PROFILE": "",
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_EC2_METADATA_DISABLED": "true",
		"DYNASESSION_TABLE": "from-env", "DYNASESSION_NAME": "shop",
	} {
		t.Setenv(name, value)
	}
	ctx := t.Context()
	store, err := FromEnv(ctx)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(ctx))
	id := store.CreateID()
	require.NoError(t, store.Write(ctx, id, []byte(`{"a":1}`)))
	data, err := store.Read(ctx, id)
	require.NoError(t, err)
	assert.Equal(t, `{"a":1}`, string(data))

	table := "from-env"
	out, err := server.Client().Scan(ctx, &dynamodb.ScanInput{TableName: &table})
	require.NoError(t, err)
	require.Len(t, out.Items, 1)
	stored := protocol.Columns(store.cfg.Attributes).Record(out.Items[0])
	assert.Equal(t, store.keys.key(id), stored.Key)
	assert.True(t, strings.HasPrefix(stored.Key, "shop_"))

	t.Run("wrong settings", func(t *testing.T) {
		t.Setenv("DYNASESSION_TIMEOUT", "soon")
		_, err := FromEnv(ctx)
		require.ErrorContains(t, err, "DYNASESSION_TIMEOUT")
	})
	t.Run("wrong ranges", func(t *testing.T) {
		t.Setenv("DYNASESSION_TIMEOUT", "-1s")
		_, err := FromEnv(ctx)
		require.ErrorContains(t, err, "Config.Timeout")
	})
	t.Run("wrong AWS settings", func(t *testing.T) {
		t.Setenv("AWS_PROFILE", "nobody")
		_, err := FromEnv(ctx)
		require.ErrorContains(t, err, "dynasession: AWS settings")
	})
}
