package dynamotest

import (
	"math/big"
	"strconv"
	"strings"
)

// number is an exact decimal: ±0.digits × 10^exp. digits has neither leading nor trailing zeros;
// zero has none at all.
type number struct {
	neg    bool
	digits string
	exp    int
}

const (
	maxDigits   = 38
	maxExponent = 126  // of 9.99…E+125
	minExponent = -129 // of 1E-130
)

func parseNumber(s string) (number, *apiError) {
	bad := invalid("A value provided cannot be converted into a number")
	var n number
	rest := s
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		n.neg = rest[0] == '-'
		rest = rest[1:]
	}
	exp := 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		e, err := strconv.Atoi(rest[i+1:])
		if err != nil || len(rest)-i > 12 {
			return number{}, bad
		}
		exp, rest = e, rest[:i]
	}
	whole, frac, _ := strings.Cut(rest, ".")
	if whole+frac == "" || !allDigits(whole) || !allDigits(frac) {
		return number{}, bad
	}
	all := whole + frac
	exp += len(whole)
	trimmed := strings.TrimLeft(all, "0")
	exp -= len(all) - len(trimmed)
	n.digits = strings.TrimRight(trimmed, "0")
	n.exp = exp
	return n.checked()
}

// checked refuses what DynamoDB cannot store, and returns zero in its one form.
func (n number) checked() (number, *apiError) {
	switch {
	case n.digits == "":
		return number{}, nil
	case len(n.digits) > maxDigits:
		return number{}, invalid("DynamoDB only supports precision up to 38 digits")
	case n.exp > maxExponent:
		return number{}, invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	case n.exp < minExponent:
		return number{}, invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
	}
	return n, nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// String is the plain form, without exponent and without needless zeros, as the service returns it.
func (n number) String() string {
	if n.digits == "" {
		return "0"
	}
	var b strings.Builder
	if n.neg {
		b.WriteByte('-')
	}
	switch {
	case n.exp <= 0:
		b.WriteString("0.")
		b.WriteString(strings.Repeat("0", -n.exp))
		b.WriteString(n.digits)
	case n.exp >= len(n.digits):
		b.WriteString(n.digits)
		b.WriteString(strings.Repeat("0", n.exp-len(n.digits)))
	default:
		b.WriteString(n.digits[:n.exp])
		b.WriteByte('.')
		b.WriteString(n.digits[n.exp:])
	}
	return b.String()
}

func (n number) sign() int {
	switch {
	case n.digits == "":
		return 0
	case n.neg:
		return -1
	}
	return 1
}

func (n number) compare(m number) int {
	s, t := n.sign(), m.sign()
	if s != t {
		if s < t {
			return -1
		}
		return 1
	}
	if s == 0 {
		return 0
	}
	if n.exp != m.exp {
		if n.exp < m.exp {
			return -s
		}
		return s
	}
	return s * strings.Compare(n.digits, m.digits)
}

// add returns n+m, or n-m if minus is set.
func (n number) add(m number, minus bool) (number, *apiError) {
	scale := min(n.exp-len(n.digits), m.exp-len(m.digits))
	x, y := n.scaled(scale), m.scaled(scale)
	if minus {
		x.Sub(x, y)
	} else {
		x.Add(x, y)
	}
	sum := number{neg: x.Sign() < 0}
	digits := x.Abs(x).String()
	if digits != "0" {
		sum.digits = strings.TrimRight(digits, "0")
		sum.exp = scale + len(digits)
	}
	return sum.checked()
}

// scaled returns n / 10^scale, which the caller knows to be whole. Exponents are within 300 of each other.
func (n number) scaled(scale int) *big.Int {
	if n.digits == "" {
		return new(big.Int)
	}
	x, _ := new(big.Int).SetString(n.digits+strings.Repeat("0", n.exp-len(n.digits)-scale), 10)
	if n.neg {
		x.Neg(x)
	}
	return x
}

// size is the billed size: a byte for each two digits left and right of the decimal point, one
// more, and one for a minus.
func (n number) size() int {
	if n.digits == "" {
		return 1
	}
	first := floorDiv(n.exp-1, 2)
	last := floorDiv(n.exp-len(n.digits), 2)
	size := first - last + 2
	if n.neg {
		size++
	}
	return size
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
