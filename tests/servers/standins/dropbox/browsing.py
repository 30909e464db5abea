"""Calls that look at Dropbox or change it without bytes."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from typing import Any

from dropbox import auth, check, files, users, users_common
from dropbox.stone_serializers import json_encode

from servers.standins.dropbox.calls import Calls
from servers.standins.dropbox.described import DESCRIBED, Bad, answered, call, failed
from servers.standins.dropbox.sign_in import account_id
from servers.standins.dropbox.state import Entry, Failed, Tree, key, within
from servers.standins.messages import Answer, Request


@dataclass(frozen=True)
class Cursor:
    """How far a listing got: through what was there, then through what changed since it began."""

    tree: Tree
    path: str
    recursive: bool
    deleted: bool
    limit: int
    after: str | None = ""
    seen: int = 0


class Browsing(Calls):
    """Metadata, folders, deletion, downloads, the account."""

    def _found(self, request: Request, path: str, where: Any, errors: Any) -> tuple[Tree, Entry]:
        """What is at a path.

        Raises:
            Refused: 409, not_found.
        """
        try:
            number, inside = self.at(request, path)
        except Failed:
            raise failed(where, errors(files.LookupError.not_found)) from None
        entry = self.trees[number].find(inside)
        if entry is None:
            raise failed(where, errors(files.LookupError.not_found))
        return self.trees[number], entry

    @call(files.get_metadata)
    def get_metadata(self, request: Request) -> Answer:
        """One file or folder."""
        where = files.get_metadata
        argument = self.called(request, where)
        with self.lock:
            if argument.include_deleted:
                number, inside = self.at(request, argument.path)
                if key(inside) in self.trees[number].deleted:
                    return answered(where, _deleted(self.trees[number], key(inside)))
            _, entry = self._found(request, argument.path, where, files.GetMetadataError.path)
            return answered(where, entry.metadata())

    @call(files.list_folder)
    def list_folder(self, request: Request) -> Answer:
        """The first page."""
        where = files.list_folder
        argument = self.called(request, where)
        with self.lock:
            number, path = self.at(request, argument.path)
            tree = self.trees[number]
            if path not in ("", "/"):
                tree, entry = self._found(request, argument.path, where, files.ListFolderError.path)
                if entry.content is not None:
                    raise failed(where, files.ListFolderError.path(files.LookupError.not_folder))
                path = entry.display
            limit = argument.limit or self.page
            seen = len(tree.changes)
            began = Cursor(
                tree, path.rstrip("/"), argument.recursive, argument.include_deleted, limit, seen=seen
            )
            return answered(where, self._page(began))

    @call(files.list_folder_continue)
    def list_folder_continue(self, request: Request) -> Answer:
        """The next page, and after the last one what has changed since."""
        where = files.list_folder_continue
        argument = self.called(request, where)
        with self.lock:
            cursor = self.cursors.get(argument.cursor)
            if cursor is not None:
                return answered(where, self._page(cursor))
        if argument.cursor.startswith(_CURSOR):
            raise failed(where, files.ListFolderContinueError.reset)
        raise Bad(DESCRIBED[where].name, 'Invalid "cursor" parameter')

    def _page(self, cursor: Cursor) -> files.ListFolderResult:
        tree, start = cursor.tree, key(cursor.path) + "/"
        if cursor.after is not None:
            places = set(tree.below(cursor.path, recursive=cursor.recursive))
            if cursor.deleted:
                places |= {p for p in tree.deleted if within(p, start, recursive=cursor.recursive)}
            left = sorted(place for place in places if place > cursor.after)
            page, more = left[: cursor.limit], len(left) > cursor.limit
            following = replace(cursor, after=page[-1] if more else None)
        else:
            changed = dict.fromkeys(tree.changes[cursor.seen :])
            page = [place for place in changed if within(place, start, recursive=cursor.recursive)]
            more, following = False, replace(cursor, seen=len(tree.changes))
        shown = [tree.entries[p].metadata() if p in tree.entries else _deleted(tree, p) for p in page]
        token = _CURSOR + secrets.token_urlsafe(24)
        self.cursors[token] = following
        return files.ListFolderResult(shown, token, has_more=more)

    @call(files.create_folder_v2)
    def create_folder(self, request: Request) -> Answer:
        """A folder."""
        where = files.create_folder_v2
        argument = self.called(request, where)
        try:
            made = self.written(
                request,
                argument.path,
                lambda tree, path: tree.folder(path, autorename=argument.autorename),
            )
        except Failed as refused:
            raise failed(where, files.CreateFolderError.path(refused.error)) from None
        return answered(where, files.CreateFolderResult(made.metadata()))

    @call(files.delete_v2)
    def delete(self, request: Request) -> Answer:
        """A file, or a folder with all in it."""
        where, errors = files.delete_v2, files.DeleteError
        argument = self.called(request, where)
        with self.committing(self.root(request)) as busy, self.lock:
            if busy is not None:
                raise failed(where, errors.too_many_write_operations)
            tree, entry = self._found(request, argument.path, where, errors.path_lookup)
            if argument.parent_rev is not None and argument.parent_rev != entry.rev:
                kind = "folder" if entry.content is None else "file"
                conflict = getattr(files.WriteConflictError, kind)
                raise failed(where, errors.path_write(files.WriteError.conflict(conflict)))
            shown = entry.metadata()
            tree.delete(entry)
        return answered(where, files.DeleteResult(shown))

    @call(files.download)
    def download(self, request: Request) -> Answer:
        """Its bytes, its metadata in a header."""
        where = files.download
        argument = self.called(request, where)
        with self.lock:
            _, entry = self._found(request, argument.path, where, files.DownloadError.path)
            if entry.content is None:
                raise failed(where, files.DownloadError.path(files.LookupError.not_file))
            told = json_encode(where.result_type, entry.metadata())
            header = {"Dropbox-API-Result": json.dumps(json.loads(told))}
            return Answer(200, file=entry.content.path, headers=header, media_type="application/octet-stream")

    # --- the account -------------------------------------------------------------------------------

    @call(users.get_current_account)
    def get_current_account(self, request: Request) -> Answer:
        """Who am I."""
        self.called(request, users.get_current_account)
        account = self.rules.account
        name = users.Name(account, "Example", account, f"{account} Example", account[:2].upper())
        shown = users.FullAccount(
            account_id=account_id(account), name=name, email=f"{account}@example.org", email_verified=True,
            disabled=False, locale="en", referral_link="https://db.tt/x", is_paired=False,
            account_type=users_common.AccountType.basic, root_info=self.root_info(),
        )  # fmt: skip
        return answered(users.get_current_account, shown)

    @call(users.get_space_usage)
    def get_space_usage(self, request: Request) -> Answer:
        """How much of how much."""
        self.called(request, users.get_space_usage)
        allocated = users.IndividualSpaceAllocation(2 << 30 if self.quota is None else self.quota)
        usage = users.SpaceUsage(self.account.used, users.SpaceAllocation.individual(allocated))
        return answered(users.get_space_usage, usage)

    @call(check.user)
    def check_user(self, request: Request) -> Answer:
        """Whether the token works."""
        argument = self.called(request, check.user)
        return answered(check.user, check.EchoResult(argument.query))

    @call(auth.token_revoke)
    def token_revoke(self, request: Request) -> Answer:
        """The token's login ends, with its refresh token and all other access tokens (auth.stone)."""
        self.called(request, auth.token_revoke)
        self.rules.revoke(request.headers["Authorization"].partition(" ")[2])
        return answered(auth.token_revoke, None)


_CURSOR = "cursor:"


def _deleted(tree: Tree, place: str) -> files.DeletedMetadata:
    display = tree.deleted[place]
    return files.DeletedMetadata(display.rpartition("/")[2], path_lower=place, path_display=display)
