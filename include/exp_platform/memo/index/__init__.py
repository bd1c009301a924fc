"""The index page: all experiments in one list, made from the memos' JSON files."""
