package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) completion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Write the completion script of a shell",
		Long:  "Write the script that makes a shell complete havn's commands and flags.\n\n" + exitText,
		Example: `  source <(havn completion bash)
  havn completion bash > /etc/bash_completion.d/havn
  havn completion zsh > "${fpath[1]}/_havn"
  havn completion fish > ~/.config/fish/completions/havn.fish`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fail.E(fail.Invalid, nil, "%s takes the name of one shell", cmd.CommandPath()).Hint("use bash, zsh, fish or powershell")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return failed(root.GenBashCompletionV2(p.out, true))
			case "zsh":
				return failed(root.GenZshCompletion(p.out))
			case "fish":
				return failed(root.GenFishCompletion(p.out, true))
			case "powershell":
				return failed(root.GenPowerShellCompletionWithDesc(p.out))
			}
			return fail.E(fail.Invalid, nil, "no shell %q is known", args[0]).Hint("use bash, zsh, fish or powershell")
		},
	}
}
