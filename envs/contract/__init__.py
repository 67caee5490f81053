"""The contract of a family, as checks that anybody can run over theirs."""

from envs.contract.examine import CHECKS, Check, Finding, examine

__all__ = ["CHECKS", "Check", "Finding", "examine"]
