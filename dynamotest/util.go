package dynamotest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func words(s string) []string { return strings.Fields(s) }

// canonical is a form of a request that does not depend on the order of its maps.
func canonical(x any) []byte {
	b, err := json.Marshal(x)
	if err != nil {
		return nil
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		return b
	}
	if sorted, err := json.Marshal(tree); err == nil {
		return sorted
	}
	return b
}
