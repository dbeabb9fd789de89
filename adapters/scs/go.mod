module github.com/dynasession/dynasession/adapters/scs

go 1.25.0

require github.com/dynasession/dynasession v0.0.0

require github.com/alexedwards/scs/v2 v2.9.0 // indirect

replace github.com/dynasession/dynasession => ../..
