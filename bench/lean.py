"""What each lean building block does to the peak of a step: the tables of docs/memory.md, printed by bench/lean.cpp."""
import subprocess

from _common import fill, program


def main():
    tables = subprocess.run([program("lean")], capture_output=True, text=True, check=True).stdout
    print(tables)
    fill("memory.md", "lean", tables)


if __name__ == "__main__":
    main()
