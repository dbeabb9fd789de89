package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// This file computes what DynamoDB bills, by the rules of its Developer Guide ("Capacity unit
// consumption", "DynamoDB item sizes and formats"). The proxy compares the results with what DynamoDB
// Local reports.

// item is an item in DynamoDB's JSON. It maps each attribute's name to its type and value.
type item map[string]map[string]json.RawMessage

// size returns the item's size in bytes, which counts the names and the values of the attributes.
func (it item) size() (int, error) {
	n := 0
	for name, typed := range it {
		size, err := valueSize(typed)
		if err != nil {
			return 0, fmt.Errorf("attribute %s: %w", name, err)
		}
		n += len(name) + size
	}
	return n, nil
}

func valueSize(typed map[string]json.RawMessage) (int, error) {
	for kind, raw := range typed {
		switch kind {
		case "S", "N", "B":
			var s string
			if err := json.Unmarshal(raw, &s); err != nil {
				return 0, err
			}
			switch kind {
			case "N":
				return numberSize(s), nil
			case "B":
				b, err := base64.StdEncoding.DecodeString(s)
				return len(b), err
			}
			return len(s), nil
		case "M":
			var m item
			if err := json.Unmarshal(raw, &m); err != nil {
				return 0, err
			}
			n, err := m.size()
			return 3 + len(m) + n, err // 3 bytes, and 1 for each pair
		}
		return 0, fmt.Errorf("unexpected type %s", kind)
	}
	return 0, fmt.Errorf("no value")
}

// numberSize returns a number's size: one byte for every two significant digits, and one more.
func numberSize(s string) int {
	digits := strings.Trim(s, "0")
	return (len(digits)+1)/2 + 1
}

func writeUnits(size int) float64 { return float64(max(1, (size+1023)/1024)) }

func readUnits(size int, strong bool) float64 {
	units := float64(max(1, (size+4095)/4096))
	if strong {
		return units
	}
	return units / 2
}

// Prices in dollars for a million units, on demand, in us-east-1, since November 2024
// (aws.amazon.com/dynamodb/pricing/on-demand).
const (
	readPrice  = 0.125
	writePrice = 0.625
)

func dollars(reads, writes float64) float64 { return (reads*readPrice + writes*writePrice) / 1e6 }
