//go:build !linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/fail"
)

// lab says where there is one: its processes die with their parent, which only the kernel of Linux sees to.
func (p *program) lab() *cobra.Command {
	return &cobra.Command{
		Use:   "lab",
		Short: "The whole deployment on one machine, to try out and to break: on Linux alone",
		Long: `The whole deployment on one machine, to try out and to break. It runs on Linux alone, with the packages of Debian 12.

` + exitText,
		Example: "  havn lab --help",
		RunE: func(*cobra.Command, []string) error {
			return failed(fail.E(fail.Unsupported, nil, "the lab runs on Linux alone").Hint("use a machine, virtual or not, with Debian 12"))
		},
	}
}
