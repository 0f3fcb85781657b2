package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) token() *cobra.Command {
	return p.nouns(verb{
		"token", "Personal access tokens: secrets for programs, instead of a password",
		"Personal access tokens: secrets that docker and other programs send instead of a password, with the user's name. They may do all that the user may.",
		"  havn token list\n  havn token create laptop --days 30",
	}, p.tokenList(), p.tokenCreate(), p.tokenDelete())
}

// tokensOf answers the tokens of a user, "" for the caller, and his number.
func tokensOf(r *remote, user string) ([]client.UserToken, int64, error) {
	if user == "" {
		user = r.User
	}
	owner, err := r.FindUser(r.ctx, user)
	if err != nil {
		return nil, 0, err
	}
	all, err := r.ListUserTokens(r.ctx, owner.UserID)
	return all, owner.UserID, err
}

func (p *program) tokenList() *cobra.Command {
	var user string
	cmd := p.asking(verb{
		"list", "The tokens of a user", "List one's own personal access tokens, or, as an administrator, those of another user. Secrets are not told.",
		"  havn token list\n  havn token list --of maria",
	}, func(r *remote) (answered, error) {
		return listed(&listing{}, func(int64, int64) ([]client.UserToken, int64, error) {
			all, _, err := tokensOf(r, user) // there is one page
			return all, int64(len(all)), err
		}, "ID, NAME, MADE, USED, UNTIL", func(t client.UserToken) []string {
			name := t.Name
			if name == "" {
				name = "(CLI secret)"
			}
			used := "never"
			if !t.UseTime.IsZero() {
				used = since(t.UseTime)
			}
			return []string{decimal(t.ID), name, since(t.CreationTime), used, seconds(t.ExpiresAt)}
		})
	})
	cmd.Flags().StringVar(&user, "of", "", "the user, if it is not oneself")
	return cmd
}

func (p *program) tokenCreate() *cobra.Command {
	days := 0
	cmd := p.asking(verb{
		"create NAME", "Make a token of one's own", "Make a personal access token. Its secret is shown this once.",
		"  havn token create laptop\n  havn token create ci --days 30 --output json",
	}, func(r *remote) (answered, error) {
		body := client.UserTokenReq{Name: r.args[0], ExpiresAt: -1}
		switch {
		case days < 0:
			return answered{}, usage(fail.E(fail.Invalid, nil, "--days %d", days).Hint("use 1 or more, or 0 for a token that does not end"))
		case days > 0:
			body.ExpiresAt = time.Now().AddDate(0, 0, days).Unix()
		}
		me, err := r.GetCurrentUserInfo(r.ctx)
		if err != nil {
			return answered{}, err
		}
		made, err := r.CreateUserToken(r.ctx, me.UserID, body)
		return answered{value: made, text: "The token " + made.Name + " of " + me.Username + " is good until: " + seconds(made.ExpiresAt) + ". It is shown this once:\n\n    " + made.Token + "\n"}, err
	})
	cmd.Flags().IntVar(&days, "days", 0, "after how many days it ends; 0: never")
	return cmd
}

func (p *program) tokenDelete() *cobra.Command {
	var user string
	var yes *bool
	cmd := p.asking(verb{
		"delete NAME", "End a token", "End a personal access token, by its name or its number: at once at the node that is asked, and within seconds at the others.",
		"  havn token delete laptop --yes\n  havn token delete ci --of maria --yes",
	}, func(r *remote) (answered, error) {
		all, owner, err := tokensOf(r, user)
		if err != nil {
			return answered{}, err
		}
		for _, t := range all {
			if t.Name != r.args[0] && decimal(t.ID) != r.args[0] {
				continue
			}
			if err = p.sure(*yes, "Delete the token "+r.args[0]); err == nil {
				err = r.DeleteUserToken(r.ctx, owner, t.ID)
			}
			return did("deleted", "token", r.args[0], t.ID), err
		}
		return answered{}, fail.E(fail.NotFound, nil, "not found: token %q", r.args[0]).Hint("`havn token list` says which there are")
	})
	cmd.Flags().StringVar(&user, "of", "", "the user, if it is not oneself")
	yes = deleting(cmd)
	return cmd
}
