from tf_lottery.cli.export_ticket import main
raise SystemExit(main())
