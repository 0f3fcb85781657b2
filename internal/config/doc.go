// Package config is the configuration of Havn as types: what keys there are, where their values come from, whether they can work,
// and the words that explain them.
//
// One table (see keys) says for each key its path, type, default, range and meaning. The file, the environment, the flags, `config
// print` and docs/configuration.md all follow from it, so that a new key is one new row. Flags go before the environment, that before
// the file, and that before the default.
package config
