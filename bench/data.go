package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// The sessions of the trace hold what the sessions of a web shop would. All libraries store the same
// bytes.

// value is a key of a session, with its value in JSON.
type value struct{ key, json string }

// person is the content of one user's session. It is the same in every run.
type person struct {
	id      string
	profile value    // set at the sign-in
	small   [2]value // set by the two small changes, in this order
	big     value    // set by the change that makes the session large
}

type profile struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	Phone    string    `json:"phone"`
	Locale   string    `json:"locale"`
	TimeZone string    `json:"time_zone"`
	Avatar   string    `json:"avatar"`
	Roles    []string  `json:"roles"`
	Address  address   `json:"address"`
	Customer int       `json:"customer_no"`
	Since    time.Time `json:"customer_since"`
	SignedIn time.Time `json:"signed_in_at"`
	CSRF     string    `json:"csrf_token,omitempty"`
	Settings settings  `json:"preferences"`
}

type settings struct {
	Theme      string `json:"theme"`
	Currency   string `json:"currency"`
	Newsletter string `json:"newsletter"`
	OrderMail  bool   `json:"order_mails"`
	Wishlist   bool   `json:"public_wishlist"`
}

type address struct {
	Street  string `json:"street"`
	City    string `json:"city"`
	Zip     string `json:"postal_code"`
	Country string `json:"country"`
}

type line struct {
	SKU   string    `json:"sku"`
	Count int       `json:"quantity"`
	Price string    `json:"price"`
	Added time.Time `json:"added_at"`
}

type product struct {
	SKU   string    `json:"sku"`
	Title string    `json:"title"`
	URL   string    `json:"url"`
	Image string    `json:"image"`
	Price string    `json:"price"`
	Seen  time.Time `json:"seen_at"`
}

type visits struct {
	Pages int       `json:"pages"`
	First time.Time `json:"first_at"`
}

// recent is the number of products in the big change. With them, a session holds about 2.6 KB.
const recent = 7

// newPerson returns the content of the nth user's session. If hashes is set, the URLs also contain
// file hashes, and the profile contains a token. These do not compress.
func newPerson(n int, hashes bool) person {
	r := random{rand.New(rand.NewPCG(uint64(n), 2026))}
	pick, text := r.pick, r.text

	first, last := pick(firstNames), pick(lastNames)
	town := towns[r.IntN(len(towns))]
	signedIn := time.Date(2026, 11, 22, 6+r.IntN(16), r.IntN(60), r.IntN(60), 0, time.UTC)
	p := person{id: "01J" + text(crockford, 23)}
	file, token := strconv.Itoa(100000+r.IntN(900000)), ""
	if hashes {
		file, token = text(hexDigits, 32), text(base64URL, 43)
	}
	p.profile = encode("profile", profile{
		ID:    p.id,
		Name:  first + " " + last,
		Email: fmt.Sprintf("%s.%s%02d@example.org", strings.ToLower(first), strings.ToLower(last), r.IntN(100)),
		Phone: "+" + town.dial + text(digits, 9), Locale: town.locale, TimeZone: town.zone,
		Avatar: "https://images.example.com/avatars/" + file + "-128.webp",
		Roles:  []string{"customer"},
		Address: address{
			Street: fmt.Sprintf("%s %d", pick(streets), 1+r.IntN(140)),
			City:   town.city, Zip: text(digits, 5), Country: town.country,
		},
		Customer: 100000 + r.IntN(900000),
		Since:    signedIn.Add(-time.Duration(r.IntN(5*365*24*3600)) * time.Second),
		SignedIn: signedIn, CSRF: token,
		Settings: settings{
			Theme: pick([]string{"light", "dark", "system"}), Currency: "EUR",
			Newsletter: pick([]string{"never", "weekly", "monthly"}), OrderMail: true, Wishlist: r.IntN(2) == 0,
		},
	})
	p.small[0] = encode("visits", visits{Pages: 3, First: signedIn.Add(-time.Duration(r.IntN(90)) * time.Second)})
	at := signedIn
	var seen []product
	for range recent {
		at = at.Add(time.Duration(5+r.IntN(200)) * time.Second)
		title := fmt.Sprintf("%s %s, %s", pick(kinds), pick(things), pick(variants))
		sku := text(digits, 8)
		image := sku
		if hashes {
			image += "/" + text(hexDigits, 12)
		}
		slug := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(title), ",", ""), " ", "-")
		seen = append(seen, product{
			SKU: sku, Title: title,
			URL:   "https://www.example.com/p/" + slug + "-" + sku,
			Image: "https://images.example.com/products/" + image + "-640.webp",
			Price: fmt.Sprintf("%d.%d9 EUR", 4+r.IntN(200), r.IntN(10)),
			Seen:  at,
		})
	}
	p.small[1] = encode("cart", []line{{
		SKU: seen[1].SKU, Count: 1 + r.IntN(3), Price: seen[1].Price, Added: seen[1].Seen,
	}})
	p.big = encode("recently_viewed", seen)
	return p
}

func encode(key string, v any) value {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types above always encode
	}
	return value{key, string(b)}
}

var (
	firstNames = []string{
		"Amelia", "Bartholomew", "Carmen", "Dmitri", "Eleonora", "Fatima", "Giulia", "Hendrik", "Ingrid", "Joaquin",
		"Katarzyna", "Leonard", "Margarethe", "Nikolai", "Oluwaseun", "Priya", "Quentin", "Rosalind", "Sebastian", "Theodora",
	}
	lastNames = []string{
		"Abernathy", "Bergstrom", "Castellano", "Dubois", "Eriksson", "Fitzgerald", "Gutierrez", "Hoffmann", "Ivanova", "Jankowski",
		"Kowalczyk", "Lindqvist", "Moreau", "Nakamura", "Oyelaran", "Papadopoulos", "Rasmussen", "Schneider", "Tanaka", "Vandenberg",
	}
	streets = []string{
		"Bahnhofstrasse", "Rue de la Republique", "Via Garibaldi", "Kungsgatan", "Calle Mayor", "Church Street", "Ulica Dluga", "Prinsengracht",
		"Station Road", "Lindenallee", "Avenue Victor Hugo", "Storgatan",
	}
	towns = []struct{ city, country, zone, locale, dial string }{
		{"Stockholm", "SE", "Europe/Stockholm", "sv-SE", "46"},
		{"Hamburg", "DE", "Europe/Berlin", "de-DE", "49"},
		{"Lyon", "FR", "Europe/Paris", "fr-FR", "33"},
		{"Bologna", "IT", "Europe/Rome", "it-IT", "39"},
		{"Valencia", "ES", "Europe/Madrid", "es-ES", "34"},
		{"Manchester", "GB", "Europe/London", "en-GB", "44"},
		{"Gdansk", "PL", "Europe/Warsaw", "pl-PL", "48"},
		{"Utrecht", "NL", "Europe/Amsterdam", "nl-NL", "31"},
	}
	kinds = []string{
		"Stainless Steel", "Organic Cotton", "Wireless", "Foldable", "Handmade Ceramic", "Rechargeable", "Waterproof", "Merino Wool",
		"Cast Iron", "Bamboo", "Noise Cancelling", "Adjustable", "Full Grain Leather", "Cordless", "Insulated", "Recycled",
	}
	things = []string{
		"Water Bottle", "T-Shirt", "Mechanical Keyboard", "Camping Chair", "Coffee Mug", "Bicycle Light", "Hiking Backpack", "Base Layer",
		"Frying Pan", "Cutting Board", "Over-Ear Headphones", "Standing Desk", "Card Wallet", "Vacuum Cleaner", "Lunch Box", "Yoga Mat",
	}
	variants = []string{
		"Matte Black", "Size M", "750 ml", "Navy Blue", "Set of 4", "2026 Edition", "28 cm", "Forest Green",
		"Large", "Charcoal", "with Case", "Natural", "160 x 80 cm", "Terracotta", "15 Inch", "Ivory",
	}
)
