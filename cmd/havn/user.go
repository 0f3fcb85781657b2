package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) user() *cobra.Command {
	return p.nouns(verb{
		"user", "Users: make, change and list them", "Users who log in with a password that is kept here, or that a directory or an identity provider knows. Others than oneself are for system administrators.",
		"  havn user list\n  havn user create maria --email maria@example.com",
	},
		p.userList(), p.userGet(), p.userCreate(), p.userUpdate(), p.userPassword(), p.userDelete())
}

func (p *program) userList() *cobra.Command {
	var l listing
	cmd := p.asking(verb{"list", "All users", "List all users.", "  havn user list\n  havn user list --query username=~mar --output json"}, func(r *remote) (answered, error) {
		return listed(&l, func(page, size int64) ([]client.UserResp, int64, error) {
			return r.ListUsers(r.ctx, client.ListUsersParams{Q: l.query, Sort: l.sort, Page: page, PageSize: size})
		}, "ID, NAME, EMAIL, REAL NAME, ADMIN, MADE", func(u client.UserResp) []string {
			return []string{decimal(u.UserID), u.Username, dash(u.Email), dash(u.Realname), yesNo(u.SysadminFlag || u.AdminRoleInAuth), since(u.CreationTime)}
		})
	})
	l.flags(cmd, "username, email, sysadmin_flag", "username, user_id, creation_time, update_time", 0)
	return cmd
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (p *program) userGet() *cobra.Command {
	return p.asking(verb{"get [USER]", "One user", "Show a user: without a name the one who asks.", "  havn user get\n  havn user get maria --output json"}, func(r *remote) (answered, error) {
		name := r.User
		if len(r.args) > 0 {
			name = r.args[0]
		}
		u, err := r.FindUser(r.ctx, name)
		return described(u, "ID", decimal(u.UserID), "NAME", u.Username, "EMAIL", dash(u.Email), "REAL NAME", dash(u.Realname), "COMMENT", dash(u.Comment), "ADMIN", yesNo(u.SysadminFlag),
			"ADMIN BY A GROUP", yesNo(u.AdminRoleInAuth), "MADE", since(u.CreationTime)), err
	})
}

// profile is what users say of themselves.
type profile struct {
	email, realName, comment string
	admin                    bool
}

func (f *profile) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.email, "email", "", "the mail address")
	cmd.Flags().StringVar(&f.realName, "real-name", "", "what people call the user")
	cmd.Flags().StringVar(&f.comment, "comment", "", "a note")
	cmd.Flags().BoolVar(&f.admin, "admin", false, "a system administrator, who may do everything")
}

func (p *program) userCreate() *cobra.Command {
	var f profile
	var stdin *bool
	cmd := p.asking(verb{
		"create USER", "Make a user", "Make a user whose password is kept here. It has 8 to 128 bytes, with upper and lower case letters and a digit, and is asked for.",
		"  havn user create maria --email maria@example.com --real-name 'Maria Berg'\n  havn user create maria --email maria@example.com --password-stdin < password",
	}, func(r *remote) (answered, error) {
		password, err := p.newPassword(*stdin, "Password of "+r.args[0])
		if err != nil {
			return answered{}, err
		}
		body := client.UserCreationReq{Username: r.args[0], Password: password, Email: f.email, Realname: f.realName, Comment: f.comment}
		if body.Realname == "" {
			body.Realname = r.args[0]
		}
		at, err := r.CreateUser(r.ctx, body)
		if err != nil {
			return answered{}, err
		}
		id := client.IDAt(at)
		if f.admin {
			if err = r.SetUserSysAdmin(r.ctx, id, client.UserSysAdminFlag{SysadminFlag: true}); err != nil {
				return answered{}, fail.E(fail.KindOf(err), err, "user %s is created, but no administrator", r.args[0]).Hint("havn user update %s --admin", r.args[0])
			}
		}
		return did("created", "user", r.args[0], id), nil
	})
	f.flags(cmd)
	stdin = onStdin(cmd, "the password")
	return cmd
}

func (p *program) userUpdate() *cobra.Command {
	var f profile
	cmd := p.asking(verb{
		"update USER", "Change what is told of a user, or make an administrator", "Change what is named of a user, and leave the rest.",
		"  havn user update maria --email maria@example.org\n  havn user update maria --admin=false",
	}, func(r *remote) (answered, error) {
		given := r.cmd.Flags().Changed
		told := given("email") || given("real-name") || given("comment")
		if !told && !given("admin") {
			return answered{}, nothingToChange(r.cmd)
		}
		u, err := r.FindUser(r.ctx, r.args[0])
		if err != nil {
			return answered{}, err
		}
		body := client.UserProfile{Email: u.Email, Realname: u.Realname, Comment: u.Comment}
		for _, one := range []struct {
			flag, value string
			to          *string
		}{{"email", f.email, &body.Email}, {"real-name", f.realName, &body.Realname}, {"comment", f.comment, &body.Comment}} {
			if given(one.flag) {
				*one.to = one.value
			}
		}
		if told {
			err = r.UpdateUserProfile(r.ctx, u.UserID, body)
		}
		if err == nil && given("admin") {
			err = r.SetUserSysAdmin(r.ctx, u.UserID, client.UserSysAdminFlag{SysadminFlag: f.admin})
		}
		return did("updated", "user", r.args[0], u.UserID), err
	})
	f.flags(cmd)
	return cmd
}

func (p *program) userPassword() *cobra.Command {
	var stdin *bool
	cmd := p.asking(verb{
		"set-password [USER]", "Change the password of a user", "Change one's own password, for which the old one is asked too, or, as an administrator, that of another user.",
		"  havn user set-password\n  havn user set-password maria --password-stdin < new-password",
	}, func(r *remote) (answered, error) {
		name := r.User
		if len(r.args) > 0 {
			name = r.args[0]
		}
		u, err := r.FindUser(r.ctx, name)
		if err != nil {
			return answered{}, err
		}
		var body client.PasswordReq
		if name == r.User {
			if body.OldPassword, err = p.password(*stdin, "Old password of "+name); err != nil {
				return answered{}, err
			}
		}
		if body.NewPassword, err = p.newPassword(*stdin, "New password of "+name); err != nil {
			return answered{}, err
		}
		return did("updated", "password of user", name, u.UserID), r.UpdateUserPassword(r.ctx, u.UserID, body)
	})
	stdin = onStdin(cmd, "the old password, if it is one's own, and the new one")
	return cmd
}

func (p *program) userDelete() *cobra.Command {
	var yes *bool
	cmd := p.asking(verb{"delete USER", "Delete a user", "Delete a user with his memberships and tokens. What he pushed stays. Nobody deletes himself.", "  havn user delete maria --yes"}, func(r *remote) (answered, error) {
		u, err := r.FindUser(r.ctx, r.args[0])
		if err == nil {
			err = p.sure(*yes, "Delete the user "+r.args[0])
		}
		if err != nil {
			return answered{}, err
		}
		return did("deleted", "user", r.args[0], u.UserID), r.DeleteUser(r.ctx, u.UserID)
	})
	yes = deleting(cmd)
	return cmd
}
