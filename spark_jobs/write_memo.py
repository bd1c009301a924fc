"""Write the decision memo as Markdown, HTML and JSON."""

from exp_platform.pipelines.job import main

if __name__ == "__main__":
    main("write_memo")
